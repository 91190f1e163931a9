// Reductions of a whole warp in one instruction. Needs compute capability 8.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace idsim::cuda::ptx {

__device__ __forceinline__ uint32_t warp_least(uint32_t x) { return __reduce_min_sync(~0U, x); }
__device__ __forceinline__ uint32_t warp_most(uint32_t x) { return __reduce_max_sync(~0U, x); }

}  // namespace idsim::cuda::ptx

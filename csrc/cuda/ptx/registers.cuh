// setmaxnreg: warp groups of a block share out its registers anew. All warps of a group call it.
#pragma once

#include <cuda_runtime.h>

#include "cuda/ptx/sm90a.cuh"

namespace idsim::cuda::ptx {

template <int kCount>
inline constexpr bool is_register_count = kCount >= 24 && kCount <= 256 && kCount % 8 == 0;

// Keeps kCount registers per thread.
template <int kCount>
__device__ __forceinline__ void give_registers() {
  static_assert(is_register_count<kCount>);
  IDSIM_SM90A("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
// Waits until the block has them left.
template <int kCount>
__device__ __forceinline__ void take_registers() {
  static_assert(is_register_count<kCount>);
  IDSIM_SM90A("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

}  // namespace idsim::cuda::ptx

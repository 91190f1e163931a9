// The dynamic shared memory of a block; its size is given at launch. Aligned to the 1024 bytes of a swizzled tile.
#pragma once

#include <cuda_runtime.h>

namespace idsim::cuda::ptx {

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(1024) char idsim_shared_memory[];
  return idsim_shared_memory;
}

}  // namespace idsim::cuda::ptx

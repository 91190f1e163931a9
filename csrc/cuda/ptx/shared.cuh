// The dynamic shared memory of a block; its size is given at launch. Aligned to the 1024 bytes of a swizzled tile.
#pragma once

#include <cuda_runtime.h>

namespace idsim::cuda::ptx {

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(1024) char idsim_shared_memory[];
  return idsim_shared_memory;
}

// From the next multiple of 1,024 bytes on, as tensor copies and products of warp groups count them.
__device__ __forceinline__ char* aligned_shared_memory() {
  char* memory = shared_memory();
  return memory + (0U - static_cast<unsigned>(__cvta_generic_to_shared(memory))) % 1024U;
}

}  // namespace idsim::cuda::ptx

// What the wrappers of Hopper's own instructions share. Every architecture compiles the kernels that use them; only
// sm_90a runs them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// asm volatile, where the instruction exists.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define IDSIM_SM90A(...) asm volatile(__VA_ARGS__)
#else
#define IDSIM_SM90A(...) __trap()
#endif

namespace idsim::cuda::ptx {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

}  // namespace idsim::cuda::ptx

// cp.async: copies from global to shared memory that run beside the arithmetic.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace idsim::cuda::ptx {

// 16 bytes, both addresses aligned to 16; zeros where not valid (nothing is read then).
__device__ __forceinline__ void copy_16(void* shared, const void* global, bool valid) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most kGroupsLeft of this thread's groups are under way.
template <int kGroupsLeft>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

}  // namespace idsim::cuda::ptx

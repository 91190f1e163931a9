// The emulator's counterpart of csrc/cuda/ptx/async_copy.cuh.
#pragma once

#include <cuda_runtime.h>

namespace idsim::cuda::ptx {

inline void copy_16(void* shared, const void* global, bool valid) {
  emulator::async_copy(shared, global, valid ? 16 : 0, valid ? 0 : 16);
}
inline void commit_copies() { emulator::async_commit(); }
template <int kGroupsLeft>
inline void wait_copies() {
  emulator::async_wait(kGroupsLeft);
}

}  // namespace idsim::cuda::ptx

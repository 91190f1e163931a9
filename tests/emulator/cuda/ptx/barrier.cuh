// The emulator's counterpart of csrc/cuda/ptx/barrier.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "async.hpp"

namespace idsim::cuda::ptx {

using Barrier = uint64_t;

inline void barrier_init(Barrier* barrier, unsigned arrivals) {
  emulator::barrier_init(barrier, arrivals);
}
inline void barrier_init_fence() {}
inline void barrier_arrive(Barrier* barrier) { emulator::barrier_arrive(barrier, 0); }
inline void barrier_arrive_at(Barrier* barrier, unsigned cta) {
  emulator::barrier_arrive_at(barrier, cta);
}
inline void barrier_expect(Barrier* barrier, unsigned bytes) {
  emulator::barrier_arrive(barrier, bytes);
}
inline void barrier_wait(Barrier* barrier, unsigned parity) {
  emulator::barrier_wait(barrier, parity);
}
inline void fence_async() {}

}  // namespace idsim::cuda::ptx

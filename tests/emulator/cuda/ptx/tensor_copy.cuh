// The emulator's counterpart of csrc/cuda/ptx/tensor_copy.cuh.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "async.hpp"
#include "cuda/ptx/barrier.cuh"

namespace idsim::cuda::ptx {

inline void copy_box(void* shared, const CUtensorMap* map, int x, int y, Barrier* barrier) {
  emulator::tensor_copy(shared, *map, x, y, barrier, 1U << emulator::cluster_rank());
}
inline void copy_box_to(void* shared, const CUtensorMap* map, int x, int y, Barrier* barrier,
                        uint16_t ctas) {
  emulator::tensor_copy(shared, *map, x, y, barrier, ctas);
}
inline void prefetch_map(const CUtensorMap*) {}

}  // namespace idsim::cuda::ptx

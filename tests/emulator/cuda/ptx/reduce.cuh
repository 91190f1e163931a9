// The emulator's counterpart of csrc/cuda/ptx/reduce.cuh.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace idsim::cuda::ptx {

template <class Choose>
uint32_t reduce_warp(uint32_t x, const Choose& choose) {
  for (int by = 16; by > 0; by /= 2) x = choose(x, __shfl_xor_sync(~0U, x, by));
  return x;
}
inline uint32_t warp_least(uint32_t x) {
  return reduce_warp(x, [](uint32_t a, uint32_t b) { return std::min(a, b); });
}
inline uint32_t warp_most(uint32_t x) {
  return reduce_warp(x, [](uint32_t a, uint32_t b) { return std::max(a, b); });
}

}  // namespace idsim::cuda::ptx

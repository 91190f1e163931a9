// The emulator's counterpart of csrc/cuda/ptx/wgmma.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "warp_group.hpp"

namespace idsim::cuda::ptx {

inline uint64_t operand(const void* shared) { return emulator::operand(shared); }
inline constexpr uint64_t kNextK = 32 / 16;

inline void wgmma_begin() { emulator::begin_products(); }
inline void wgmma_commit() { emulator::commit_products(); }
template <int kLeft>
inline void wgmma_wait() {
  emulator::wait_products(kLeft);
}
template <class T>
inline void hold(T (&)[64]) {}

inline void wgmma(int32_t (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  emulator::add_product({d, a, b, accumulate, emulator::Multiplied::s8_u8});
}
inline void wgmma(float (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  emulator::add_product({d, a, b, accumulate, emulator::Multiplied::f16});
}

}  // namespace idsim::cuda::ptx

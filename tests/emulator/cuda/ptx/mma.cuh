// The emulator's counterpart of csrc/cuda/ptx/mma.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/widen.hpp"
#include "tensor_sum.hpp"

namespace idsim::cuda::ptx {

template <class T>
struct EmulatedMma {
  T* c;
  const uint32_t* a;
  const uint32_t* b;
};

// PTX ISA 9.7.14, "Matrix fragments for mma.m16n8k32" and "mma.m16n8k16": 32-bit word `reg` of a lane.
inline int fragment_row(int lane, int reg) { return lane / 4 + 8 * (reg % 2); }
inline int fragment_word(int lane, int half) { return lane % 4 + 4 * half; }

// Calls product(c, row of a, column of b), eight words each, for every element of c.
template <class T, class Product>
void emulate_mma(void** lanes, const Product& product) {
  uint32_t rows[16][8], columns[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* mma = static_cast<const EmulatedMma<T>*>(lanes[lane]);
    for (int reg = 0; reg < 4; ++reg) {
      rows[fragment_row(lane, reg)][fragment_word(lane, reg / 2)] = mma->a[reg];
    }
    for (int reg = 0; reg < 2; ++reg) columns[lane / 4][fragment_word(lane, reg)] = mma->b[reg];
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* mma = static_cast<EmulatedMma<T>*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      mma->c[i] = product(mma->c[i], rows[lane / 4 + 8 * (i / 2)], columns[2 * (lane % 4) + i % 2]);
    }
  }
}

inline void mma_u8_s8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  EmulatedMma<int32_t> mine{c, a, b};
  emulator::warp_collective(
      ~0U, emulator::kMma,
      [](void** lanes, unsigned) {
        emulate_mma<int32_t>(lanes, [](int32_t c0, const uint32_t* row, const uint32_t* column) {
          auto sum = static_cast<uint32_t>(c0);
          for (int k = 0; k < 32; ++k) {
            const int x = static_cast<uint8_t>(row[k / 4] >> (8 * (k % 4)));
            const int y = static_cast<int8_t>(column[k / 4] >> (8 * (k % 4)));
            sum += static_cast<uint32_t>(x * y);
          }
          return static_cast<int32_t>(sum);
        });
      },
      &mine);
}

// Four products at a time, as on the first tensor cores: the most steps, and so the largest error.
inline void mma_f16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  EmulatedMma<float> mine{c, a, b};
  emulator::warp_collective(
      ~0U, emulator::kMma,
      [](void** lanes, unsigned) {
        emulate_mma<float>(lanes, [](float sum, const uint32_t* row, const uint32_t* column) {
          float products[16];
          for (int k = 0; k < 16; ++k) {
            const auto x = static_cast<uint16_t>(row[k / 2] >> (16 * (k % 2)));
            const auto y = static_cast<uint16_t>(column[k / 2] >> (16 * (k % 2)));
            products[k] = widen_f16(x) * widen_f16(y);
          }
          for (int k = 0; k < 16; k += 4) sum = emulator::truncating_sum(sum, products + k, 4);
          return sum;
        });
      },
      &mine);
}

}  // namespace idsim::cuda::ptx

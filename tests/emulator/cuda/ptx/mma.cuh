// The emulator's counterpart of csrc/cuda/ptx/mma.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace idsim::cuda::ptx {

struct EmulatedMma {
  int32_t* c;
  const uint32_t* a;
  const uint32_t* b;
};

// PTX ISA 9.7.14, "Matrix fragments for mma.m16n8k32": byte `byte` of register `reg`.
inline int fragment_row(int lane, int reg) { return lane / 4 + 8 * (reg % 2); }
inline int fragment_k(int lane, int reg, int byte) { return 4 * (lane % 4) + byte + 16 * reg; }

inline void mma_u8_s8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  EmulatedMma mine{c, a, b};
  emulator::warp_collective(
      ~0U, emulator::kMma,
      [](void** lanes, unsigned) {
        int32_t rows[16][32], columns[32][8];
        for (int lane = 0; lane < 32; ++lane) {
          const auto* mma = static_cast<const EmulatedMma*>(lanes[lane]);
          for (int byte = 0; byte < 4; ++byte) {
            for (int reg = 0; reg < 4; ++reg) {
              rows[fragment_row(lane, reg)][fragment_k(lane, reg / 2, byte)] =
                  static_cast<uint8_t>(mma->a[reg] >> (8 * byte));
            }
            for (int reg = 0; reg < 2; ++reg) {
              columns[fragment_k(lane, reg, byte)][lane / 4] =
                  static_cast<int8_t>(mma->b[reg] >> (8 * byte));
            }
          }
        }
        for (int lane = 0; lane < 32; ++lane) {
          auto* mma = static_cast<EmulatedMma*>(lanes[lane]);
          for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2);
            const int column = 2 * (lane % 4) + i % 2;
            auto sum = static_cast<uint32_t>(mma->c[i]);
            for (int k = 0; k < 32; ++k)
              sum += static_cast<uint32_t>(rows[row][k] * columns[k][column]);
            mma->c[i] = static_cast<int32_t>(sum);
          }
        }
      },
      &mine);
}

}  // namespace idsim::cuda::ptx

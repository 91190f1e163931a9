// mma.sync of 32 bytes of k, 16 x 8. Needs compute capability 8.0.
//
// Fragments of the PTX ISA, in bytes of k: with g = lane / 4 and t = lane % 4
//   a[0], a[1]: bytes 4t..4t+3 of rows g, g + 8; a[2], a[3]: the same 16 bytes further on
//   b[0]: bytes 4t..4t+3 of column g; b[1]: 16 bytes further on
//   c[0], c[1]: row g, columns 2t, 2t+1; c[2], c[3]: row g + 8
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace idsim::cuda::ptx {

// c += a b: m16n8k32 of unsigned by signed bytes, exact 32-bit sums.
__device__ __forceinline__ void mma_u8_s8(int32_t (&c)[4], const uint32_t (&a)[4],
                                          const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c += a b: m16n8k16 of float16, float32 sums (core/half.hpp has what is assumed of them).
__device__ __forceinline__ void mma_f16(float (&c)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace idsim::cuda::ptx

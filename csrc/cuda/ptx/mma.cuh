// mma.sync m16n8k32: unsigned by signed bytes, exact 32-bit sums. Needs compute capability 8.0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace idsim::cuda::ptx {

// c += a b. a: 16 x 32, b: 32 x 8, c: 16 x 8, in the fragments of the PTX ISA: with g = lane / 4 and t = lane % 4
//   a[0], a[1]: bytes k = 4t..4t+3 of rows g, g + 8; a[2], a[3]: the same of k + 16
//   b[0]: bytes k = 4t..4t+3 of column g; b[1]: of k + 16
//   c[0], c[1]: row g, columns 2t, 2t+1; c[2], c[3]: row g + 8
__device__ __forceinline__ void mma_u8_s8(int32_t (&c)[4], const uint32_t (&a)[4],
                                          const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace idsim::cuda::ptx

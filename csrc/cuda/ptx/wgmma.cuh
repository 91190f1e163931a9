// wgmma: products of 64 x 128 x 32 bytes by the four warps of a warp group, from shared memory, beside everything else.
//
// Both operands are rows of 128 bytes of k, as copy_box leaves them: groups of 8 rows in 1024 bytes that begin at a
// multiple of 1024, with the 128-byte swizzle. Element i of d of lane l of warp w of the group is
//   row 16 w + l / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (l % 4) + i % 2
//
// The order of calls: wgmma_begin, products, wgmma_commit, wgmma_wait; until it returns, d belongs to the tensor cores.
// hold(d) before wgmma_begin and after wgmma_wait keeps the compiler from moving what it does with d across.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cuda/ptx/sm90a.cuh"

namespace idsim::cuda::ptx {

// The descriptor of an operand (PTX ISA, "Matrix descriptor format"): the address and the stride of groups of 8 rows in
// units of 16 bytes, and the 128-byte swizzle in the top bits.
__device__ __forceinline__ uint64_t operand(const void* shared) {
  constexpr uint64_t stride = uint64_t{1024 / 16} << 32;
  constexpr uint64_t swizzle_128 = uint64_t{1} << 62;
  return (shared_address(shared) & 0x3FFFFU) >> 4 | stride | swizzle_128;
}
// Added to a descriptor: the next 32 bytes of k.
inline constexpr uint64_t kNextK = 32 / 16;

__device__ __forceinline__ void wgmma_begin() {
  IDSIM_SM90A("wgmma.fence.sync.aligned;" :: : "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  IDSIM_SM90A("wgmma.commit_group.sync.aligned;" :: : "memory");
}
// Waits until at most kLeft of the committed groups are under way.
template <int kLeft>
__device__ __forceinline__ void wgmma_wait() {
  IDSIM_SM90A("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

template <class T>
__device__ __forceinline__ void hold(T (&d)[64]) {
#pragma unroll
  for (int i = 0; i < 64; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      IDSIM_SM90A("" : "+f"(d[i])::"memory");
    } else {
      IDSIM_SM90A("" : "+r"(d[i])::"memory");
    }
  }
}

#define IDSIM_EIGHT(kind, d, i)                                                               \
  kind(d[i]), kind(d[i + 1]), kind(d[i + 2]), kind(d[i + 3]), kind(d[i + 4]), kind(d[i + 5]), \
      kind(d[i + 6]), kind(d[i + 7])
#define IDSIM_SIXTY_FOUR(kind, d)                                                   \
  IDSIM_EIGHT(kind, d, 0), IDSIM_EIGHT(kind, d, 8), IDSIM_EIGHT(kind, d, 16),       \
      IDSIM_EIGHT(kind, d, 24), IDSIM_EIGHT(kind, d, 32), IDSIM_EIGHT(kind, d, 40), \
      IDSIM_EIGHT(kind, d, 48), IDSIM_EIGHT(kind, d, 56)
// `modifiers` follow the predicate that says whether d is added to.
#define IDSIM_WGMMA(shape, modifiers)                                        \
  "{\n"                                                                      \
  ".reg .pred p;\n"                                                          \
  "setp.ne.b32 p, %66, 0;\n"                                                 \
  "wgmma.mma_async.sync.aligned." shape                                      \
  " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "   \
  "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "   \
  "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "   \
  "%58, %59, %60, %61, %62, %63}, %64, %65, p" modifiers                     \
  ";\n"                                                                      \
  "}"

// d (+)= a b: 32 of k, a signed and b unsigned bytes, sums that wrap.
__device__ __forceinline__ void wgmma(int32_t (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  IDSIM_SM90A(IDSIM_WGMMA("m64n128k32.s32.s8.u8", "") : IDSIM_SIXTY_FOUR("+r", d) : "l"(a), "l"(b),
              "r"(static_cast<int>(accumulate)));
}

// 16 of k, float16, float32 sums (core/half.hpp has what is assumed of them). Neither operand negated or transposed.
__device__ __forceinline__ void wgmma(float (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  IDSIM_SM90A(
      IDSIM_WGMMA("m64n128k16.f32.f16.f16", ", 1, 1, 0, 0") : IDSIM_SIXTY_FOUR("+f", d) : "l"(a),
      "l"(b), "r"(static_cast<int>(accumulate)));
}

#undef IDSIM_WGMMA
#undef IDSIM_SIXTY_FOUR
#undef IDSIM_EIGHT

}  // namespace idsim::cuda::ptx

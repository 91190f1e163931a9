// The two kinds of codes as the tile kernels multiply them. Both take 32 bytes of k per instruction, from the same
// fragments, so that one kernel serves both.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/precision.hpp"
#include "core/tile_bound.hpp"
#include "cuda/ptx/mma.cuh"

namespace idsim::cuda {

struct Int8Codes {
  using Sum = int32_t;
  // Gallery codes are stored as c + 128; starting at -128 * sum(query codes) makes the sum that of the signed codes.
  __device__ static Sum start(const int32_t* starts, int64_t query) { return starts[query]; }
  __device__ static void multiply(Sum (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_u8_s8(c, a, b);
  }
  // The least sum without its start that reaches a limit.
  __device__ static Sum least(float limit, Sum start) { return least_product(limit, start); }
  __device__ static Sum greater(Sum a, Sum b) { return a > b ? a : b; }
};

struct HalfCodes {
  using Sum = float;
  __device__ static Sum start(const int32_t*, int64_t) { return 0.0F; }
  __device__ static void multiply(Sum (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    ptx::mma_f16(c, a, b);
  }
  __device__ static Sum least(float limit, Sum) { return limit; }
  __device__ static Sum greater(Sum a, Sum b) { return std::fmax(a, b); }
};

// Calls f(Int8Codes{}) or f(HalfCodes{}).
template <class F>
void with_codes(Precision precision, const F& f) {
  return precision == Precision::float16 ? f(HalfCodes{}) : f(Int8Codes{});
}

// A sum of products in lists that serve both kinds. Those of two digits (core/digits.hpp) are float32.
struct StoredSum {
  uint32_t bits;
};
__device__ inline StoredSum stored(int32_t sum) { return {static_cast<uint32_t>(sum)}; }
__device__ inline StoredSum stored(float sum) { return {std::bit_cast<uint32_t>(sum)}; }
template <class T>
__device__ T sum_as(StoredSum sum, bool integers) {
  return integers ? static_cast<T>(static_cast<int32_t>(sum.bits))
                  : static_cast<T>(std::bit_cast<float>(sum.bits));
}

}  // namespace idsim::cuda

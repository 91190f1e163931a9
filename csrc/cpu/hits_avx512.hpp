// What the AVX-512 tile kernels do with finished dots: the test for hits, or storing them all.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/kernels.hpp"

#define ALWAYS_INLINE inline __attribute__((always_inline))

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

namespace idsim::cpu {
namespace {

// Dots of R rows and a panel of queries.
template <int R>
using Sums = __m512i[R][2];

// Bytes to be fetched ahead, a share with every line of the inner loop.
struct Prefetch {
  const uint8_t* next;  // null: none

  ALWAYS_INLINE void lines(int n) {
    if (next == nullptr) return;
    for (int i = 0; i < n; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(next + i * 64), _MM_HINT_T0);
    }
    next += n * 64;
  }
};

template <bool kThree>
class HitCollector {
 public:
  HitCollector(const TileArgs& args, Hit* hits)
      : u_(args.u), v_(args.v), w_(args.w), a_(args.a), b_(args.b), c_(args.c), hits_(hits) {}

  int count() const { return count_; }

  template <int R>
  ALWAYS_INLINE void take(const Sums<R>& sums, int first) {
    uint32_t masks[R];
    uint32_t any = 0;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      masks[r] = _mm512_kunpackw(test(sums[r][1], first + r, 16), test(sums[r][0], first + r, 0));
      any |= masks[r];
    }
    if (__builtin_expect(any == 0, 1)) return;
    alignas(64) int32_t dots[R][kPanel];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      _mm512_store_si512(dots[r], sums[r][0]);
      _mm512_store_si512(dots[r] + 16, sums[r][1]);
    }
    append(masks, dots[0], first, R);
  }

 private:
  ALWAYS_INLINE __mmask16 test(__m512i sum, int row, int query) const {
    const __m512 dot = _mm512_cvtepi32_ps(sum);
    const __m512 reach = _mm512_mul_ps(_mm512_loadu_ps(a_ + query), _mm512_set1_ps(u_[row]));
    __m512 rest = _mm512_mul_ps(_mm512_loadu_ps(b_ + query), _mm512_set1_ps(v_[row]));
    if constexpr (kThree) {
      const __m512 third = _mm512_mul_ps(_mm512_loadu_ps(c_ + query), _mm512_set1_ps(w_[row]));
      rest = _mm512_sub_ps(third, rest);
      return _mm512_cmp_ps_mask(dot, _mm512_add_ps(reach, rest), _CMP_GE_OQ);
    }
    return _mm512_cmp_ps_mask(dot, _mm512_sub_ps(reach, rest), _CMP_GE_OQ);
  }

  __attribute__((noinline)) void append(const uint32_t* masks, const int32_t* dots, int first,
                                        int rows) {
    for (int r = 0; r < rows; ++r) {
      for (uint32_t m = masks[r]; m != 0; m &= m - 1) {
        const int q = __builtin_ctz(m);
        hits_[count_++] = {first + r, q, dots[r * kPanel + q]};
      }
    }
  }

  const float *u_, *v_, *w_, *a_, *b_, *c_;
  Hit* hits_;
  int count_ = 0;
};

struct DotStore {
  int32_t* dots;

  template <int R>
  ALWAYS_INLINE void take(const Sums<R>& sums, int first) {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      _mm512_storeu_si512(dots + int64_t{first + r} * kPanel, sums[r][0]);
      _mm512_storeu_si512(dots + int64_t{first + r} * kPanel + 16, sums[r][1]);
    }
  }
};

}  // namespace
}  // namespace idsim::cpu

#pragma GCC pop_options

// AVX-512 VNNI: what the row scans share to sum the products of a row. For files whose own functions are
// compiled for this instruction set.
#pragma once

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace idsim::cpu {
namespace {

ALWAYS_INLINE void add_products(__m512i& sum, __m512i unsigned_bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
}

// [a0+a2, b0+b2, a1+a3, b1+b3] in every 128-bit lane.
inline __m512i fold_words(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// Sums of the four words of every 128-bit lane: [a, b, c, d].
inline __m512i fold_lane(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = fold_words(a, b), cd = fold_words(c, d);
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

// Sums of neighbouring 128-bit lanes: [a01, a23, b01, b23].
inline __m512i fold_lanes_pairwise(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
}

// The sum of the 16 words of each of 16 registers.
ALWAYS_INLINE __m512i fold_rows(const __m512i* s) {
  const __m512i low =
      fold_lanes_pairwise(fold_lane(s[0], s[1], s[2], s[3]), fold_lane(s[4], s[5], s[6], s[7]));
  const __m512i high = fold_lanes_pairwise(fold_lane(s[8], s[9], s[10], s[11]),
                                           fold_lane(s[12], s[13], s[14], s[15]));
  return fold_lanes_pairwise(low, high);
}

}  // namespace
}  // namespace idsim::cpu

#pragma GCC pop_options

// Row functions of the AVX2 table: canonical dot, codes of a row, float32 products with few queries.
#include "cpu/avx2.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "core/score.hpp"

// After the headers, so that their inline functions stay within the baseline.
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace idsim::cpu::avx2 {
namespace {

[[gnu::always_inline]] inline __m256d widen_low(__m256 x) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
[[gnu::always_inline]] inline __m256d widen_high(__m256 x) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

// Up to eight floats, zeros for the rest; nothing past `count` is read.
[[gnu::always_inline]] inline __m256 load_up_to(const float* x, int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int n = static_cast<int>(std::clamp<int64_t>(count, 0, 8));
  return _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}

// Elements 8j to 8j + 7 of the 32 from x[0]; `left` elements are there.
template <bool kTail>
[[gnu::always_inline]] inline __m256 load_eight(const float* x, int j, int64_t left) {
  if constexpr (kTail) return load_up_to(x + 8 * j, left - 8 * j);
  return _mm256_loadu_ps(x + 8 * j);
}

// 32 float64 lanes; lanes[j] holds lanes 4j to 4j + 3.
struct DotLanes {
  __m256d lanes[8];
};

[[gnu::always_inline]] inline void clear(DotLanes& sum) {
  for (__m256d& lane : sum.lanes) lane = _mm256_setzero_pd();
}

// Products of two float32 are exact in float64, so the fused operation rounds as the separate ones.
[[gnu::always_inline]] inline void add_products(DotLanes& sum, int j, __m256 a, __m256 b) {
  sum.lanes[2 * j] = _mm256_fmadd_pd(widen_low(a), widen_low(b), sum.lanes[2 * j]);
  sum.lanes[2 * j + 1] = _mm256_fmadd_pd(widen_high(a), widen_high(b), sum.lanes[2 * j + 1]);
}

[[gnu::always_inline]] inline double fold(const DotLanes& sum) {
  const __m256d* s = sum.lanes;
  const __m256d s0 = _mm256_add_pd(_mm256_add_pd(s[0], s[4]), _mm256_add_pd(s[2], s[6]));
  const __m256d s1 = _mm256_add_pd(_mm256_add_pd(s[1], s[5]), _mm256_add_pd(s[3], s[7]));
  const __m256d four = _mm256_add_pd(s0, s1);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

[[gnu::always_inline]] inline float fold(const __m256 (&s)[4]) {
  const __m256 eight = _mm256_add_ps(_mm256_add_ps(s[0], s[2]), _mm256_add_ps(s[1], s[3]));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

template <bool kTail>
[[gnu::always_inline]] inline void add_products_32(DotLanes& sum, const float* a, const float* b,
                                                   int64_t left) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j)
    add_products(sum, j, load_eight<kTail>(a, j, left), load_eight<kTail>(b, j, left));
}

struct RowMeasure {
  float max_abs;
  double squared_norm;
};

template <bool kTail>
[[gnu::always_inline]] inline void measure_32(DotLanes& sum, __m256& most, const float* x,
                                              int64_t left) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m256 value = load_eight<kTail>(x, j, left);
    most = _mm256_max_ps(_mm256_andnot_ps(sign, value), most);  // a NaN value leaves `most`
    add_products(sum, j, value, value);
  }
}

RowMeasure measure(const float* x, int64_t d) {
  DotLanes sum;
  clear(sum);
  __m256 most = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) measure_32<false>(sum, most, x + i, kLanes);
  if (i < d) measure_32<true>(sum, most, x + i, d - i);
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
  return {_mm_cvtss_f32(m), fold(sum)};
}

// Codes of 32 elements; adds the squares of what they lose.
template <bool kTail>
[[gnu::always_inline]] inline void quantize_32(const float* x, int64_t left, __m256 inverse,
                                               __m256 scale, __m256 (&lost)[4], uint8_t* code) {
  __m256i rounded[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m256 value = load_eight<kTail>(x, j, left);
    rounded[j] = _mm256_cvtps_epi32(_mm256_mul_ps(value, inverse));
    const __m256 difference =
        _mm256_sub_ps(value, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(rounded[j])));
    lost[j] = _mm256_add_ps(lost[j], _mm256_mul_ps(difference, difference));
  }
  const __m256i low = _mm256_packs_epi32(rounded[0], rounded[1]);
  const __m256i high = _mm256_packs_epi32(rounded[2], rounded[3]);
  // Packing works within halves; the permutation restores the order of groups of four.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(code),
                      _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)));
}

// Products of one row with kQueries queries, and with itself; 16 partial sums each.
template <int kQueries, bool kSquare>
[[gnu::always_inline]] inline void row_dots(const float* x, const float* queries, int64_t d,
                                            float* dots, float* square) {
  constexpr int kSums = kQueries + (kSquare ? 1 : 0);
  __m256 sums[kSums][2];
  for (auto& sum : sums) sum[0] = sum[1] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= d; i += 16) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256 value = _mm256_loadu_ps(x + i + 8 * h);
#pragma GCC unroll 4
      for (int j = 0; j < kQueries; ++j) {
        sums[j][h] =
            _mm256_fmadd_ps(value, _mm256_loadu_ps(queries + j * d + i + 8 * h), sums[j][h]);
      }
      if constexpr (kSquare) sums[kQueries][h] = _mm256_fmadd_ps(value, value, sums[kQueries][h]);
    }
  }
  for (; i < d; i += 8) {
    const __m256 value = load_up_to(x + i, d - i);
    for (int j = 0; j < kQueries; ++j) {
      sums[j][0] = _mm256_fmadd_ps(value, load_up_to(queries + j * d + i, d - i), sums[j][0]);
    }
    if constexpr (kSquare) sums[kQueries][0] = _mm256_fmadd_ps(value, value, sums[kQueries][0]);
  }
  const __m256 zero = _mm256_setzero_ps();
  for (int j = 0; j < kSums; ++j) {
    (j < kQueries ? dots[j] : *square) = fold({sums[j][0], sums[j][1], zero, zero});
  }
}

template <int kQueries>
void rows_dots(const float* rows, int64_t stride, int n_rows, const float* queries, int first,
               int n_queries, int64_t d, float* dots, float* squares) {
  const float* chunk = queries + first * d;
  for (int i = 0; i < n_rows; ++i) {
    float* out = dots + int64_t{i} * n_queries + first;
    if (first == 0) {
      row_dots<kQueries, true>(rows + i * stride, chunk, d, out, squares + i);
    } else {
      row_dots<kQueries, false>(rows + i * stride, chunk, d, out, nullptr);
    }
  }
}

}  // namespace

double dot(const float* a, const float* b, int64_t d) {
  DotLanes sum;
  clear(sum);
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) add_products_32<false>(sum, a + i, b + i, kLanes);
  if (i < d) add_products_32<true>(sum, a + i, b + i, d - i);
  return fold(sum);
}

RowStats quantize_row(const float* x, int64_t d, uint8_t* code) {
  const RowMeasure row = measure(x, d);
  const int64_t d_pad = padded_dim(d);
  if (!codable(row.max_abs, row.squared_norm)) {
    std::memset(code, 128, static_cast<size_t>(d_pad));
    return finish_row_stats(0.0F, row.max_abs, row.squared_norm, d);
  }
  const __m256 inverse = _mm256_set1_ps(127.0F / row.max_abs);
  const __m256 scale = _mm256_set1_ps(row.max_abs / 127.0F);
  __m256 lost[4];
  for (__m256& lane : lost) lane = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes)
    quantize_32<false>(x + i, kLanes, inverse, scale, lost, code + i);
  if (i < d) {
    quantize_32<true>(x + i, d - i, inverse, scale, lost, code + i);
    i += kLanes;
  }
  std::memset(code + i, 128, static_cast<size_t>(d_pad - i));
  return finish_row_stats(fold(lost), row.max_abs, row.squared_norm, d);
}

void dots_f32(const float* rows, int64_t stride, int n_rows, const float* queries, int n_queries,
              int64_t d, float* dots, float* squares) {
  // A row stays in the first cache while a chunk of queries passes over a few rows.
  constexpr int kChunk = 4;
  constexpr int kRows = 8;
  for (int row = 0; row < n_rows; row += kRows) {
    const int n = std::min(kRows, n_rows - row);
    const float* x = rows + row * stride;
    float* out = dots + int64_t{row} * n_queries;
    for (int first = 0; first < n_queries; first += kChunk) {
      switch (n_queries - first) {
        case 1:
          rows_dots<1>(x, stride, n, queries, first, n_queries, d, out, squares + row);
          break;
        case 2:
          rows_dots<2>(x, stride, n, queries, first, n_queries, d, out, squares + row);
          break;
        case 3:
          rows_dots<3>(x, stride, n, queries, first, n_queries, d, out, squares + row);
          break;
        default:
          rows_dots<4>(x, stride, n, queries, first, n_queries, d, out, squares + row);
      }
    }
  }
}

}  // namespace idsim::cpu::avx2

#pragma GCC pop_options

// AVX-512 without VNNI: coding of rows, the canonical dot, float32 products.
#include <immintrin.h>

#include <cstdint>

#include "core/codes.hpp"
#include "cpu/kernels.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

namespace idsim::cpu {
namespace {

inline __mmask16 low_mask(int64_t n) {
  return n >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << (n > 0 ? n : 0)) - 1U);
}

inline __m512d low_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline __m512d high_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

// Lanes 0-7, 8-15, 16-23, 24-31, folded by halves 16, 8, 4, 2, 1.
inline double fold(__m512d s0, __m512d s1, __m512d s2, __m512d s3) {
  const __m512d by16_low = _mm512_add_pd(s0, s2);
  const __m512d by16_high = _mm512_add_pd(s1, s3);
  const __m512d by8 = _mm512_add_pd(by16_low, by16_high);
  const __m256d by4 = _mm256_add_pd(_mm512_castpd512_pd256(by8), _mm512_extractf64x4_pd(by8, 1));
  const __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

// The same for 32 float32 lanes.
inline float fold(__m512 s0, __m512 s1) {
  const __m512 by16 = _mm512_add_ps(s0, s1);
  const __m256 by8 = _mm256_add_ps(_mm512_castps512_ps256(by16), _mm512_extractf32x8_ps(by16, 1));
  const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_add_ss(by2, _mm_shuffle_ps(by2, by2, 1)));
}

struct SquaresAndMax {
  double squared_norm;
  float max_abs;
};

// NaN is lost to the maximum and found by the norm.
SquaresAndMax squares_and_max(const float* x, int64_t d) {
  __m512d s0 = _mm512_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
  __m512 m0 = _mm512_setzero_ps(), m1 = m0;
  const auto add = [&](__m512 low, __m512 high) {
    const __m512d x0 = low_doubles(low), x1 = high_doubles(low);
    const __m512d x2 = low_doubles(high), x3 = high_doubles(high);
    s0 = _mm512_fmadd_pd(x0, x0, s0);
    s1 = _mm512_fmadd_pd(x1, x1, s1);
    s2 = _mm512_fmadd_pd(x2, x2, s2);
    s3 = _mm512_fmadd_pd(x3, x3, s3);
    m0 = _mm512_max_ps(m0, _mm512_abs_ps(low));
    m1 = _mm512_max_ps(m1, _mm512_abs_ps(high));
  };
  int64_t i = 0;
  for (; i + 32 <= d; i += 32) add(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16));
  if (i < d) {
    add(_mm512_maskz_loadu_ps(low_mask(d - i), x + i),
        _mm512_maskz_loadu_ps(low_mask(d - i - 16), x + i + 16));
  }
  return {fold(s0, s1, s2, s3), _mm512_reduce_max_ps(_mm512_max_ps(m0, m1))};
}

void fill_zero(uint8_t* code, int64_t d_pad) {
  for (int64_t i = 0; i < d_pad; i += kDimPad)
    _mm512_storeu_si512(code + i, _mm512_set1_epi8(-128));
}

// Codes of 16 elements; adds the squares of what they lose to `lost`.
struct Coder {
  __m512 inverse, scale;

  __m512i operator()(__m512 x, __m512& lost) const {
    const __m512i code = _mm512_cvt_roundps_epi32(_mm512_mul_ps(x, inverse),
                                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 error = _mm512_sub_ps(x, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(code)));
    lost = _mm512_add_ps(lost, _mm512_mul_ps(error, error));
    return code;
  }
};

// 64 codes in order, offset by 128.
inline __m512i pack_codes(__m512i c0, __m512i c1, __m512i c2, __m512i c3) {
  const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(c0, c1), _mm512_packs_epi32(c2, c3));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_xor_si512(_mm512_permutexvar_epi32(order, packed), _mm512_set1_epi8(-128));
}

RowStats quantize_row(const float* x, int64_t d, uint8_t* code) {
  const SquaresAndMax row = squares_and_max(x, d);
  if (!codable(row.max_abs, row.squared_norm)) {
    fill_zero(code, padded_dim(d));
    return finish_row_stats(0.0F, row.max_abs, row.squared_norm, d);
  }
  const Coder coder{_mm512_set1_ps(127.0F / row.max_abs), _mm512_set1_ps(row.max_abs / 127.0F)};
  __m512 lost0 = _mm512_setzero_ps(), lost1 = lost0;
  int64_t i = 0;
  for (; i + 64 <= d; i += 64) {
    const __m512i c0 = coder(_mm512_loadu_ps(x + i), lost0);
    const __m512i c1 = coder(_mm512_loadu_ps(x + i + 16), lost1);
    const __m512i c2 = coder(_mm512_loadu_ps(x + i + 32), lost0);
    const __m512i c3 = coder(_mm512_loadu_ps(x + i + 48), lost1);
    _mm512_storeu_si512(code + i, pack_codes(c0, c1, c2, c3));
  }
  if (i < d) {
    const int64_t left = d - i;
    const __m512i c0 = coder(_mm512_maskz_loadu_ps(low_mask(left), x + i), lost0);
    const __m512i c1 = coder(_mm512_maskz_loadu_ps(low_mask(left - 16), x + i + 16), lost1);
    const __m512i c2 = coder(_mm512_maskz_loadu_ps(low_mask(left - 32), x + i + 32), lost0);
    const __m512i c3 = coder(_mm512_maskz_loadu_ps(low_mask(left - 48), x + i + 48), lost1);
    _mm512_storeu_si512(code + i, pack_codes(c0, c1, c2, c3));
  }
  return finish_row_stats(fold(lost0, lost1), row.max_abs, row.squared_norm, d);
}

inline __m512d load_doubles(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }

double dot(const float* a, const float* b, int64_t d) {
  __m512d s0 = _mm512_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 32 <= d; i += 32) {
    s0 = _mm512_fmadd_pd(load_doubles(a + i), load_doubles(b + i), s0);
    s1 = _mm512_fmadd_pd(load_doubles(a + i + 8), load_doubles(b + i + 8), s1);
    s2 = _mm512_fmadd_pd(load_doubles(a + i + 16), load_doubles(b + i + 16), s2);
    s3 = _mm512_fmadd_pd(load_doubles(a + i + 24), load_doubles(b + i + 24), s3);
  }
  if (i < d) {
    const __mmask16 low = low_mask(d - i), high = low_mask(d - i - 16);
    const __m512 a0 = _mm512_maskz_loadu_ps(low, a + i), b0 = _mm512_maskz_loadu_ps(low, b + i);
    const __m512 a1 = _mm512_maskz_loadu_ps(high, a + i + 16),
                 b1 = _mm512_maskz_loadu_ps(high, b + i + 16);
    s0 = _mm512_fmadd_pd(low_doubles(a0), low_doubles(b0), s0);
    s1 = _mm512_fmadd_pd(high_doubles(a0), high_doubles(b0), s1);
    s2 = _mm512_fmadd_pd(low_doubles(a1), low_doubles(b1), s2);
    s3 = _mm512_fmadd_pd(high_doubles(a1), high_doubles(b1), s3);
  }
  return fold(s0, s1, s2, s3);
}

int32_t dot_i8(const uint8_t* row, const int8_t* query, int d_pad) {
  const __m512i bias = _mm512_set1_epi16(128);
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < d_pad; i += 32) {
    const auto* r = reinterpret_cast<const __m256i*>(row + i);
    const auto* q = reinterpret_cast<const __m256i*>(query + i);
    const __m512i r16 = _mm512_sub_epi16(_mm512_cvtepu8_epi16(_mm256_loadu_si256(r)), bias);
    const __m512i q16 = _mm512_cvtepi8_epi16(_mm256_loadu_si256(q));
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(r16, q16));
  }
  return _mm512_reduce_add_epi32(sum);
}

// R rows against N queries; each accumulator adds d / 16 products, then folds four times.
template <int R, int N>
inline void few_products(const float* rows, int64_t stride, const float* queries, int64_t d,
                         float* dots, int64_t dots_stride, float* squares) {
  __m512 dot_sums[R][N > 0 ? N : 1];
  __m512 square_sums[R];
  for (int r = 0; r < R; ++r) {
    square_sums[r] = _mm512_setzero_ps();
    for (int n = 0; n < N; ++n) dot_sums[r][n] = _mm512_setzero_ps();
  }
  const auto step = [&](int64_t i, __mmask16 mask) {
    __m512 x[R];
    for (int r = 0; r < R; ++r) {
      x[r] = _mm512_maskz_loadu_ps(mask, rows + r * stride + i);
      square_sums[r] = _mm512_fmadd_ps(x[r], x[r], square_sums[r]);
    }
    for (int n = 0; n < N; ++n) {
      const __m512 q = _mm512_maskz_loadu_ps(mask, queries + n * d + i);
      for (int r = 0; r < R; ++r) dot_sums[r][n] = _mm512_fmadd_ps(x[r], q, dot_sums[r][n]);
    }
  };
  int64_t i = 0;
  for (; i + 16 <= d; i += 16) step(i, 0xFFFF);
  if (i < d) step(i, low_mask(d - i));
  for (int r = 0; r < R; ++r) {
    if (squares != nullptr) squares[r] = _mm512_reduce_add_ps(square_sums[r]);
    for (int n = 0; n < N; ++n) dots[r * dots_stride + n] = _mm512_reduce_add_ps(dot_sums[r][n]);
  }
}

template <int R, int N>
void few_queries(const float* rows, int64_t stride, int n_rows, const float* queries, int64_t d,
                 float* dots, int64_t dots_stride, float* squares) {
  int i = 0;
  for (; i + R <= n_rows; i += R) {
    few_products<R, N>(rows + i * stride, stride, queries, d, dots + i * dots_stride, dots_stride,
                       squares == nullptr ? nullptr : squares + i);
  }
  for (; i < n_rows; ++i) {
    few_products<1, N>(rows + i * stride, stride, queries, d, dots + i * dots_stride, dots_stride,
                       squares == nullptr ? nullptr : squares + i);
  }
}

using FewQueries = void (*)(const float*, int64_t, int, const float*, int64_t, float*, int64_t,
                            float*);

void dots_f32(const float* rows, int64_t stride, int n_rows, const float* queries, int n_queries,
              int64_t d, float* dots, float* squares) {
  constexpr FewQueries by_count[] = {few_queries<4, 0>, few_queries<4, 1>, few_queries<4, 2>,
                                     few_queries<4, 3>, few_queries<4, 4>, few_queries<2, 5>,
                                     few_queries<2, 6>, few_queries<2, 7>, few_queries<2, 8>};
  int first = 0;
  do {
    const int n = n_queries - first < 8 ? n_queries - first : 8;
    by_count[n](rows, stride, n_rows, queries + first * d, d, dots + first, n_queries,
                first == 0 ? squares : nullptr);
    first += n;
  } while (first < n_queries);
}

}  // namespace
}  // namespace idsim::cpu

#pragma GCC pop_options

namespace idsim::cpu {

const Kernels& avx512_kernels() {
  static const Kernels table = [] {
    Kernels k = avx2_kernels();
    k.name = "avx512";
    k.quantize_row = quantize_row;
    k.dot = dot;
    k.dot_i8 = dot_i8;
    k.dots_f32 = dots_f32;
    return k;
  }();
  return table;
}

}  // namespace idsim::cpu

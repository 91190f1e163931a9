// AVX-512 without VNNI: coding of rows, the canonical dot, float32 products.
#include <immintrin.h>

#include <cstdint>

#include "core/codes.hpp"
#include "cpu/kernels.hpp"

#define ALWAYS_INLINE inline __attribute__((always_inline))

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

namespace idsim::cpu {
namespace {

inline __mmask16 low_mask(int64_t n) {
  return n >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << (n > 0 ? n : 0)) - 1U);
}

// 32 float64 lanes. 256-bit registers: here float32 widens twice as fast as into 512 bits.
struct Lanes {
  __m256d part[8];

  ALWAYS_INLINE Lanes() {
    for (__m256d& p : part) p = _mm256_setzero_pd();
  }

  ALWAYS_INLINE void add_products(const float* a, const float* b) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(a + 4 * i));
      const __m256d y = _mm256_cvtps_pd(_mm_loadu_ps(b + 4 * i));
      part[i] = _mm256_fmadd_pd(x, y, part[i]);
    }
  }

  ALWAYS_INLINE void add_squares(const float* a) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(a + 4 * i));
      part[i] = _mm256_fmadd_pd(x, x, part[i]);
    }
  }

  // By halves 16, 8, 4, 2, 1.
  ALWAYS_INLINE double fold() const {
    __m256d by16[4];
    for (int i = 0; i < 4; ++i) by16[i] = _mm256_add_pd(part[i], part[i + 4]);
    const __m256d by8_low = _mm256_add_pd(by16[0], by16[2]);
    const __m256d by8_high = _mm256_add_pd(by16[1], by16[3]);
    const __m256d by4 = _mm256_add_pd(by8_low, by8_high);
    const __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
  }
};

// The last n < 32 elements, followed by zeros.
struct Tail {
  alignas(64) float x[32];

  ALWAYS_INLINE Tail(const float* from, int64_t n) {
    _mm512_store_ps(x, _mm512_maskz_loadu_ps(low_mask(n), from));
    _mm512_store_ps(x + 16, _mm512_maskz_loadu_ps(low_mask(n - 16), from + 16));
  }
};

// 32 float32 lanes by halves.
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
  Lanes squares;
  __m512 most = _mm512_setzero_ps();
  const auto add = [&](const float* p) {
    squares.add_squares(p);
    const __m512 low = _mm512_loadu_ps(p), high = _mm512_loadu_ps(p + 16);
    most = _mm512_max_ps(most, _mm512_abs_ps(low));
    most = _mm512_max_ps(most, _mm512_abs_ps(high));
  };
  int64_t i = 0;
  for (; i + 32 <= d; i += 32) add(x + i);
  if (i < d) add(Tail(x + i, d - i).x);
  return {squares.fold(), _mm512_reduce_max_ps(most)};
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

double dot(const float* a, const float* b, int64_t d) {
  Lanes products;
  int64_t i = 0;
  for (; i + 32 <= d; i += 32) products.add_products(a + i, b + i);
  if (i < d) products.add_products(Tail(a + i, d - i).x, Tail(b + i, d - i).x);
  return products.fold();
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

// The sums of four registers.
ALWAYS_INLINE __m128 fold_four(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 low = _mm512_shuffle_ps(ab, cd, 0x44), high = _mm512_shuffle_ps(ab, cd, 0xEE);
  const __m512 abcd = _mm512_add_ps(low, high);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// N queries, rows one after the other: that is how the hardware prefetcher follows best. A lane adds
// d / 16 products; lanes are folded four times.
template <int N>
void few_queries(const float* rows, int64_t stride, int n_rows, const float* queries, int64_t d,
                 float* dots, int64_t dots_stride, float* squares) {
  constexpr int sums_held = (N + 1 + 3) / 4 * 4;  // the last of the N + 1 is the row's square
  for (int r = 0; r < n_rows; ++r) {
    const float* row = rows + r * stride;
    __m512 sums[sums_held];
    for (__m512& sum : sums) sum = _mm512_setzero_ps();
    int64_t i = 0;
#pragma GCC unroll 2
    for (; i + 16 <= d; i += 16) {
      const __m512 x = _mm512_loadu_ps(row + i);
      for (int n = 0; n < N; ++n) {
        sums[n] = _mm512_fmadd_ps(x, _mm512_loadu_ps(queries + n * d + i), sums[n]);
      }
      sums[N] = _mm512_fmadd_ps(x, x, sums[N]);
    }
    if (i < d) {
      const __mmask16 mask = low_mask(d - i);
      const __m512 x = _mm512_maskz_loadu_ps(mask, row + i);
      for (int n = 0; n < N; ++n) {
        const __m512 q = _mm512_maskz_loadu_ps(mask, queries + n * d + i);
        sums[n] = _mm512_fmadd_ps(x, q, sums[n]);
      }
      sums[N] = _mm512_fmadd_ps(x, x, sums[N]);
    }
    alignas(16) float folded[sums_held];
    for (int n = 0; n < sums_held; n += 4) {
      _mm_store_ps(folded + n, fold_four(sums[n], sums[n + 1], sums[n + 2], sums[n + 3]));
    }
    for (int n = 0; n < N; ++n) dots[r * dots_stride + n] = folded[n];
    if (squares != nullptr) squares[r] = folded[N];
  }
}

using FewQueries = void (*)(const float*, int64_t, int, const float*, int64_t, float*, int64_t,
                            float*);

void dots_f32(const float* rows, int64_t stride, int n_rows, const float* queries, int n_queries,
              int64_t d, float* dots, float* squares) {
  constexpr FewQueries by_count[] = {few_queries<0>, few_queries<1>, few_queries<2>,
                                     few_queries<3>, few_queries<4>, few_queries<5>,
                                     few_queries<6>, few_queries<7>, few_queries<8>};
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

// AVX-512 VNNI: 4-bit codes (core/nibbles.hpp) made of rows and their 8-bit codes, and scanned for few queries.
#include <immintrin.h>

#include <cstdint>

#include "core/nibbles.hpp"
#include "cpu/avx512.hpp"
#include "cpu/row_sums_vnni.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace idsim::cpu {
namespace {

constexpr int kLine = 64;
constexpr int kRows = 16;

// Sixteen bytes in each of the four lanes.
ALWAYS_INLINE __m512i table(const uint8_t* bytes) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

// One of the scales that are tried, for 8-bit codes as magnitudes.
struct Quantiser {
  uint8_t bounds[8];              // |c| above bounds[i] belongs to level i + 1 or higher
  alignas(16) uint8_t twice[16];  // 2 |c| that each level stands for, rounded

  constexpr explicit Quantiser(int tenths) : bounds(), twice() {
    for (int i = 0; i < 8; ++i) {
      twice[i] = static_cast<uint8_t>((2 * kNibbleLevels[i] * tenths + 5) / 10);
      bounds[i] = static_cast<uint8_t>(
          i == 7 ? 255 : (kNibbleLevels[i] + kNibbleLevels[i + 1]) * tenths / 20);
    }
  }

  ALWAYS_INLINE __m512i level(__m512i magnitude) const {
    __m512i level = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi8(1);
#pragma GCC unroll 7
    for (int i = 0; i < 7; ++i) {
      const __mmask64 above =
          _mm512_cmpgt_epu8_mask(magnitude, _mm512_set1_epi8(static_cast<char>(bounds[i])));
      level = _mm512_mask_add_epi8(level, above, level, one);
    }
    return level;
  }
};

constexpr Quantiser kQuantisers[] = {Quantiser(kNibbleTenths[0]), Quantiser(kNibbleTenths[1]),
                                     Quantiser(kNibbleTenths[2]), Quantiser(kNibbleTenths[3])};

ALWAYS_INLINE __m512i magnitudes(const uint8_t* code) {
  return _mm512_abs_epi8(_mm512_xor_si512(_mm512_loadu_si512(code), _mm512_set1_epi8(-128)));
}

// Sum of (2 |c| - 2 |c^|)^2: enough to choose by.
int32_t lost_by(const Quantiser& quantiser, const uint8_t* code, int64_t d_pad) {
  const __m512i twice = table(quantiser.twice);
  const __m512i zero = _mm512_setzero_si512();
  __m512i sum = zero;
  for (int64_t i = 0; i < d_pad; i += kLine) {
    const __m512i magnitude = magnitudes(code + i);
    const __m512i read = _mm512_shuffle_epi8(twice, quantiser.level(magnitude));
    const __m512i exact = _mm512_add_epi8(magnitude, magnitude);
    const __m512i error =
        _mm512_or_si512(_mm512_subs_epu8(exact, read), _mm512_subs_epu8(read, exact));
    const __m512i low = _mm512_unpacklo_epi8(error, zero);
    const __m512i high = _mm512_unpackhi_epi8(error, zero);
    sum = _mm512_dpwssd_epi32(sum, low, low);
    sum = _mm512_dpwssd_epi32(sum, high, high);
  }
  return _mm512_reduce_add_epi32(sum);
}

// The nibble of each of 64 codes: its level, and 8 more below zero.
ALWAYS_INLINE __m512i nibbles_of(const Quantiser& quantiser, const uint8_t* code) {
  const __m512i level = quantiser.level(magnitudes(code));
  const __mmask64 negative =
      _mm512_cmplt_epu8_mask(_mm512_loadu_si512(code), _mm512_set1_epi8(-128));
  return _mm512_mask_add_epi8(level, negative, level, _mm512_set1_epi8(8));
}

struct Levels {
  alignas(16) uint8_t offset[16];  // 128 + level, by nibble
  constexpr Levels() : offset() {
    for (int i = 0; i < 8; ++i) {
      offset[i] = static_cast<uint8_t>(128 + kNibbleLevels[i]);
      offset[i + 8] = static_cast<uint8_t>(128 - kNibbleLevels[i]);
    }
  }
};
constexpr Levels kLevels;

// Adds the squares of what up to 64 elements lose. levels: offset by 128.
ALWAYS_INLINE void add_lost(const float* x, int64_t n, __m512i levels, __m512 scale,
                            __m512 (&lost)[4]) {
  const __m512i signed_levels = _mm512_xor_si512(levels, _mm512_set1_epi8(-128));
  alignas(64) int8_t level[kLine];
  _mm512_store_si512(level, signed_levels);
  for (int j = 0; j < 4; ++j) {
    const int64_t left = n - 16 * j;
    if (left <= 0) return;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFFU : (1U << left) - 1U);
    const __m512 read = _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(level + 16 * j))));
    const __m512 error = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x + 16 * j),
                                             _mm512_mul_ps(scale, read));
    lost[j] = _mm512_add_ps(lost[j], _mm512_mul_ps(error, error));
  }
}

// N queries: their two digits against rows, one after the other, as the hardware prefetcher likes it.
template <int N>
class NibbleScan {
 public:
  NibbleScan(const NibbleScanArgs& args, int32_t* rows, int* counts)
      : args_(args),
        row_bytes_(static_cast<int>(nibble_bytes(args.d_pad))),
        rows_(rows),
        counts_(counts) {}

  void run() {
    for (int q = 0; q < N; ++q) counts_[q] = 0;
    __m512i sums[2 * N][kRows];
    int row = 0;
    for (; row + kRows <= args_.n_rows; row += kRows) {
      for (int r = 0; r < kRows; r += kAtOnce) products<kAtOnce>(row, r, sums);
      test(sums, row, kRows);
    }
    const int left = args_.n_rows - row;
    if (left == 0) return;
    for (auto& of_digit : sums) {
      for (int r = left; r < kRows; ++r) of_digit[r] = _mm512_setzero_si512();
    }
    for (int r = 0; r < left; ++r) products<1>(row, r, sums);
    test(sums, row, left);
  }

 private:
  // Rows that share a load of the queries.
  static constexpr int kAtOnce = N <= 1 ? 1 : 2;

  template <int R>
  ALWAYS_INLINE void products(int first_row, int r, __m512i (&sums)[2 * N][kRows]) const {
    const uint8_t* row = args_.rows + int64_t{first_row + r} * row_bytes_;
    const __m512i levels = table(kLevels.offset);
    const __m512i half = _mm512_set1_epi8(0x0F);
    __m512i acc[R][2 * N];
    for (auto& of_row : acc) {
      for (__m512i& sum : of_row) sum = _mm512_setzero_si512();
    }
    for (int i = 0; i < row_bytes_; i += kLine) {
      __m512i low[R], high[R];
#pragma GCC unroll 2
      for (int k = 0; k < R; ++k) {
        const __m512i bytes = _mm512_loadu_si512(row + k * row_bytes_ + i);
        low[k] = _mm512_shuffle_epi8(levels, _mm512_and_si512(bytes, half));
        high[k] = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), half));
      }
      const int8_t* digits = args_.queries + 2 * i;
#pragma GCC unroll 8
      for (int q = 0; q < 2 * N; ++q, digits += 2 * row_bytes_) {
        const __m512i low_digits = _mm512_loadu_si512(digits);
        const __m512i high_digits = _mm512_loadu_si512(digits + kLine);
#pragma GCC unroll 2
        for (int k = 0; k < R; ++k) {
          add_products(acc[k][q], low[k], low_digits);
          add_products(acc[k][q], high[k], high_digits);
        }
      }
    }
    for (int k = 0; k < R; ++k) {
      for (int q = 0; q < 2 * N; ++q) sums[q][r + k] = acc[k][q];
    }
  }

  // `rows` of 16 are real.
  ALWAYS_INLINE void test(const __m512i (&sums)[2 * N][kRows], int first_row, int rows) {
    const auto present = static_cast<__mmask16>((1U << rows) - 1U);
    const __m512 nan = _mm512_set1_ps(__builtin_nanf(""));
    const __m512 u = _mm512_mask_loadu_ps(nan, present, args_.u + first_row);
    const __m512 v = _mm512_maskz_loadu_ps(present, args_.v + first_row);
    const __m512 w = args_.w == nullptr ? v : _mm512_maskz_loadu_ps(present, args_.w + first_row);
    const __m512i numbers =
        _mm512_add_epi32(_mm512_set1_epi32(first_row),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (int q = 0; q < N; ++q) {
      const __m512i coarse =
          _mm512_add_epi32(fold_rows(sums[2 * q]), _mm512_set1_epi32(args_.starts[2 * q]));
      const __m512i fine =
          _mm512_add_epi32(fold_rows(sums[2 * q + 1]), _mm512_set1_epi32(args_.starts[2 * q + 1]));
      const __m512 dot =
          _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(coarse), _mm512_set1_ps(256.0F)),
                        _mm512_cvtepi32_ps(fine));
      const __m512 reach = _mm512_mul_ps(_mm512_set1_ps(args_.a[q]), u);
      __m512 rest = _mm512_mul_ps(_mm512_set1_ps(args_.b[q]), v);
      rest = args_.w == nullptr ? _mm512_sub_ps(_mm512_setzero_ps(), rest)
                                : _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(args_.c[q]), w), rest);
      const __mmask16 mask = _mm512_cmp_ps_mask(dot, _mm512_add_ps(reach, rest), _CMP_GE_OQ);
      // No branch: it would often be mispredicted, with all that was read ahead in flight.
      const __m512i passing = _mm512_maskz_compress_epi32(mask, numbers);
      _mm512_storeu_si512(rows_ + int64_t{q} * (args_.n_rows + kRows) + counts_[q], passing);
      counts_[q] += __builtin_popcount(mask);
    }
  }

  const NibbleScanArgs& args_;
  int row_bytes_;
  int32_t* rows_;
  int* counts_;
};

}  // namespace

NibbleStats vnni_nibble_row(const float* x, int64_t d, const uint8_t* code, float scale,
                            uint8_t* nibbles) {
  const int64_t d_pad = padded_dim(d);
  int best = 0;
  int32_t least = INT32_MAX;
  for (int i = 0; i < 4; ++i) {
    const int32_t lost = lost_by(kQuantisers[i], code, d_pad);
    if (lost < least) {
      least = lost;
      best = i;
    }
  }
  const float own_scale = scale * static_cast<float>(kNibbleTenths[best]) * 0.1F;
  const __m512i levels = table(kLevels.offset);
  __m512 lost[4] = {};
  for (int64_t i = 0; i < d_pad; i += 2 * kLine, nibbles += kLine) {
    const __m512i low = nibbles_of(kQuantisers[best], code + i);
    add_lost(x + i, d - i, _mm512_shuffle_epi8(levels, low), _mm512_set1_ps(own_scale), lost);
    __m512i high = _mm512_setzero_si512();
    if (i + kLine < d_pad) {
      high = nibbles_of(kQuantisers[best], code + i + kLine);
      add_lost(x + i + kLine, d - i - kLine, _mm512_shuffle_epi8(levels, high),
               _mm512_set1_ps(own_scale), lost);
    }
    _mm512_storeu_si512(nibbles, _mm512_or_si512(low, _mm512_slli_epi16(high, 4)));
  }
  const float sum = _mm512_reduce_add_ps(
      _mm512_add_ps(_mm512_add_ps(lost[0], lost[1]), _mm512_add_ps(lost[2], lost[3])));
  return {own_scale, nibble_residual(sum, scale, d)};
}

void vnni_nibble_scan(const NibbleScanArgs& args, int32_t* rows, int* counts) {
  if (args.n_queries == 1) return NibbleScan<1>(args, rows, counts).run();
  NibbleScan<2>(args, rows, counts).run();
}

}  // namespace idsim::cpu

#pragma GCC pop_options

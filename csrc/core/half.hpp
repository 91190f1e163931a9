// 16-bit codes of embedding rows, for devices whose tensor cores multiply float16 and sum in float32.
//
// A row x becomes float16 codes c = x / s to nearest even, with s the power of two that brings max|x| / s into [2^7, 2^8).
// Division by s is exact. Codes below 2^-14, which float16 holds as subnormals, are 0: what a tensor core makes of
// subnormals is not documented. What a code lost, x - s c, is exact in float32; its squares are summed in float64.
//
// The sums. A product of two codes is exact in float32. In what order tensor cores add products, and how they round, is
// not documented either. Assumption: adding up d products errs by at most the share n u / (1 - n u) of the sum of their
// absolute values, n = d + 16, u = 2^-22. Adders that align K products and the running sum to the largest of them, cut each
// to 24 bits and cut the result do so for every K >= 2 (measured on NVIDIA chips so far: K = 4, 8 and 16): each of the
// d / K steps errs by at most K + 2 units of 2^-23. So does any IEEE float32 summation, in any order. By Cauchy and
// Schwarz the sum of absolute products is at most ||q^|| ||x^||, so the error counts as more residual of the row:
//     |q.x - s_q s_x A| <= ||rq|| ||x|| + ||q^|| (||rx|| + g ||x^||),
// and with it core/bounds.hpp holds as it stands.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/codes.hpp"

namespace idsim {

// Share of ||x|| that v_x sets aside for the query's residual under dot and l2 (typical: 2.1e-4).
inline constexpr double kHalfQueryShare = 0x1p-12;

// s of a row, for kCodableMin <= max_abs <= kCodableMax.
IDSIM_HD inline float half_scale(float max_abs) {
  const uint32_t exponent = std::bit_cast<uint32_t>(max_abs) >> 23;
  return std::bit_cast<float>((exponent - 7U) << 23);
}

// The code of x / s, |x / s| < 2^8, as the bits of a float16.
IDSIM_HD inline uint16_t half_code(float scaled) {
  constexpr uint32_t least = 113U << 23;  // 2^-14
  const uint32_t bits = std::bit_cast<uint32_t>(scaled);
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude < least) return 0;
  const uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>((bits >> 16 & 0x8000U) | ((rounded - (112U << 23)) >> 13));
}

// The share of the sum of absolute products that a sum of d products may be off.
IDSIM_HD inline double half_sum_error(int64_t d) {
  const double nu = static_cast<double>(padded_dim(d) + 16) * 0x1p-22;
  return nu / (1.0 - nu);
}

// Stats of codes that lost `lost_squares`, the sum of squares of x - s c in float64. sum_error: half_sum_error(d) for
// gallery rows; 0 for queries, whose products it covers.
IDSIM_HD inline RowStats half_stats(double lost_squares, float max_abs, double squared_norm,
                                    int64_t d, double sum_error) {
  const double norm = std::sqrt(squared_norm);
  if (!std::isfinite(norm)) return uncoded_stats(std::numeric_limits<double>::quiet_NaN());
  if (!has_codes(max_abs, norm)) return uncoded_stats(norm);
  const double depth = static_cast<double>(d) / 32.0 + 8.0;
  const double lost = std::sqrt(lost_squares) * (1.0 + depth * 0x1p-52);
  const double residual = lost + sum_error * (norm + lost);
  return {half_scale(max_abs), round_up_to_float(residual * (1.0 + 0x1p-40)), norm};
}

}  // namespace idsim

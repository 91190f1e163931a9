// 8-bit codes of embedding rows, the same bytes on every machine.
//
// A row x of d float32 becomes d signed codes c = rint(x * (127 / max|x|)), one float32 scale
// s = max|x| / 127, and a proved bound on what the codes lost: residual >= ||x - s c||.
// Gallery rows are stored as c + 128 (unsigned), because the VNNI product takes one unsigned operand;
// rows are padded with zeros (code 128) to a multiple of kDimPad.
//
// Arithmetic, fixed so that all instruction sets agree:
//   * max|x|, 127 / max, x * (127 / max): float32, rounded to nearest even, no fused operations;
//   * the sum of (x - s c)^2: float32 product, float32 difference, float32 square, 32 interleaved
//     float32 partial sums folded by halves (the order of the canonical score);
//   * norm = sqrt(dot(x, x)) in float64 with the canonical dot.
// A row whose max is outside [2^-40, 2^40] gets zero codes and residual = norm: it is always rescored.
// A row with NaN or Inf gets zero codes and norm = NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/types.hpp"

namespace idsim {

inline constexpr int kDimPad = 64;  // one cache line of codes
// |I| <= 127 * 127 * kMaxDim < 2^31. Sums of unsigned row codes wrap on the way; taking off 128 times the sum
// of the query's codes brings them back.
inline constexpr int64_t kMaxDim = int64_t{1} << 17;

IDSIM_HD constexpr int64_t padded_dim(int64_t d) { return (d + kDimPad - 1) / kDimPad * kDimPad; }

struct RowStats {
  float scale;     // s; 1 for a zero row
  float residual;  // >= ||x - s c||; 0 for a zero row
  double norm;     // sqrt(dot(x, x)); NaN marks a row with NaN or Inf
};

inline constexpr float kCodableMin = 0x1p-40f;
inline constexpr float kCodableMax = 0x1p+40f;

IDSIM_HD inline float round_up_to_float(double x) {
  const auto f = static_cast<float>(x);
  return static_cast<double>(f) < x ? std::nextafter(f, std::numeric_limits<float>::infinity()) : f;
}

IDSIM_HD inline float round_down_to_float(double x) {
  const auto f = static_cast<float>(x);
  return static_cast<double>(f) > x ? std::nextafter(f, -std::numeric_limits<float>::infinity())
                                    : f;
}

// Bound on the residual from the float32 sum of squared differences. Derivation: each computed
// difference is within 2^-23 max|x| of the real one (product and difference round once each), and
// the sum of squares has relative error at most (d/32 + 8) 2^-24.
IDSIM_HD inline float residual_bound(float sum_of_squares, float max_abs, int64_t d) {
  const double depth = static_cast<double>(d) / 32.0 + 8.0;
  const double computed = std::sqrt(static_cast<double>(sum_of_squares)) * (1.0 + depth * 0x1p-23);
  const double rounding =
      0x1p-23 * static_cast<double>(max_abs) * std::sqrt(static_cast<double>(d));
  return round_up_to_float((computed + rounding) * (1.0 + 0x1p-20));
}

// Stats of a row that has no usable codes: zero, extreme or not finite.
IDSIM_HD inline RowStats uncoded_stats(double norm) {
  if (norm == 0.0) return {1.0F, 0.0F, 0.0};
  return {1.0F, round_up_to_float(norm * (1.0 + 0x1p-40)), norm};
}

IDSIM_HD inline bool has_codes(float max_abs, double norm) {
  return std::isfinite(norm) && max_abs >= kCodableMin && max_abs <= kCodableMax;
}

IDSIM_HD inline RowStats row_stats(float sum_of_squares, float max_abs, double squared_norm,
                                   int64_t d) {
  const double norm = std::sqrt(squared_norm);
  if (!std::isfinite(norm)) return uncoded_stats(std::numeric_limits<double>::quiet_NaN());
  if (!has_codes(max_abs, norm)) return uncoded_stats(norm);
  return {max_abs / 127.0F, residual_bound(sum_of_squares, max_abs, d), norm};
}

// The same decisions behind a call, for kernels: a file compiled for a larger instruction set calls these and
// not the inline functions above, whose out-of-line copy could otherwise be the one that every file shares.
bool codable(float max_abs, double squared_norm);
RowStats finish_row_stats(float sum_of_squares, float max_abs, double squared_norm, int64_t d);

}  // namespace idsim

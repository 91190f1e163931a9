// The filter of few queries over rows that are read once. Coding a row costs more than multiplying it with eight queries,
// so float32 sums of the rows themselves stand in for products of codes.
//
// With 32 interleaved partial sums, fused or not, folded by halves, both dot32 and square32 err by at most
// g = (d / 32 + 8) 2^-24 of ||q|| ||x|| and ||x||^2. core/bounds.hpp then holds with scale 1, no residual of the query and
// 4 g ||x|| as the residual of the row: g for the dot, the rest for ||x|| taken as sqrt(square32) and for the float32
// arithmetic of the terms.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/bounds.hpp"
#include "core/sample_rule.hpp"

namespace idsim {

// Outside these norms float32 products may overflow or lose bits to underflow: such pairs are decided by the exact score.
inline constexpr double kMinSquare = 0x1p-80;
inline constexpr double kMaxSquare = 0x1p80;
// What v_x sets aside for the query under dot and l2: arithmetic alone.
inline constexpr double kDirectQueryShare = 8.0 * kSlack;

IDSIM_HD inline bool direct_range(double square) {
  return square >= kMinSquare && square <= kMaxSquare;
}

IDSIM_HD inline float direct_error(int64_t d) {
  return (static_cast<float>(d) / 32.0F + 8.0F) * 0x1p-24F;
}

// A sum that overflowed belongs to a row or a query outside the range, which passes with any number but NaN.
IDSIM_HD inline float direct_dot(float sum) { return std::isfinite(sum) ? sum : 0.0F; }

IDSIM_HD inline QueryBound direct_query(Metric metric, double norm) {
  QueryBound out = query_bound(metric, {1.0F, 0.0F, norm}, kDirectQueryShare);
  out.coded = norm == 0.0 || direct_range(norm * norm);
  return out;
}

// square: float32 sum of a row's squares; error: direct_error(d).
IDSIM_HD inline RowTerms direct_terms(Metric metric, float square, float error) {
  if (!direct_range(static_cast<double>(square))) return passing_row();
  const float norm = std::sqrt(square);
  if (metric == Metric::cosine) return {norm, 4.0F * error * norm, 0.0F};
  const float v = (4.0F * error + static_cast<float>(kDirectQueryShare)) * norm;
  const float w = metric == Metric::l2 ? 0.5F * square * (1.0F - 4.0F * error) : 0.0F;
  return {1.0F, v * 0x1.00001p0F, w * (1.0F - static_cast<float>(kSlack))};
}

// The same for a row of a sample. No claim for a row outside the range, or with NaN or Inf.
IDSIM_HD inline SampleTerms direct_sample_terms(Metric metric, float square, float error) {
  if (!direct_range(static_cast<double>(square))) {
    return {0.0F, 0.0F, std::numeric_limits<float>::infinity(), 0.0F};
  }
  const float norm = std::sqrt(square);
  if (metric == Metric::cosine) return {1.0F / norm, 4.0F * error, 0x1.00001p0F, 0.0F};
  const float most = norm * (1.0F + 4.0F * error);
  const float half_square = 0.5F * square * (1.0F + 4.0F * error) * 0x1.00002p0F;
  return {1.0F, 4.0F * error * norm, most, metric == Metric::l2 ? half_square : 0.0F};
}

}  // namespace idsim

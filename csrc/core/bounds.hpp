// The certified filter: which pairs can be dropped without looking at their float32 rows.
//
// With q = q^ + rq and x = x^ + rx (codes and residuals):
//     |q.x - q^.x^| <= ||rq|| ||x|| + ||q^|| ||rx||.
// The integer product I of the codes is exact, q^.x^ = s_q s_x I, so a pair can reach the score t only if
//     I >= a_q u_x + c_q w_x - b_q v_x                                                          (*)
// with the row terms u, v, w and the query terms a, b, c below. Cosine uses rows scaled to unit
// length; the rescoring uses the stored rows. l2 rewrites ||q - x||^2 <= t^2 as a bound on q.x.
//
// The tile kernels evaluate (*) in float32. Its rounding (three operations and the conversion of I, each
// relative 2^-24) is paid for by kSlack = 2^-20 of every term, and the terms themselves are rounded in the
// safe direction. Rows that must never pass have u = NaN: every comparison is false.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/codes.hpp"
#include "core/types.hpp"

namespace idsim {

inline constexpr double kSlack = 0x1p-20;
// Share of ||x|| that v_x sets aside for the query's residual under dot and l2 (typical: 0.0075).
inline constexpr double kQueryShare = 0x1p-7;

struct RowTerms {
  float u, v, w;
};

struct QueryTerms {
  float a, b, c;
};

// What the filter knows of a query, in the metric's scaling (cosine: unit length).
struct QueryBound {
  double scale;       // s_q
  double residual;    // >= ||rq||
  double coded_norm;  // >= ||q^||
  double norm;        // ||q||
  bool coded;         // false: outside the coded range
  double share = kQueryShare;
};

// Rows and queries outside the coded range (core/codes.hpp) pass always and are decided by the exact score.
IDSIM_HD inline RowTerms skipped_row() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  return {nan, nan, nan};
}
IDSIM_HD inline RowTerms passing_row() {
  return {1.0F, std::numeric_limits<float>::infinity(), 0.0F};
}
IDSIM_HD inline QueryTerms passing_query() {
  return {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::min(), 0.0F};
}

// A query that no row reaches.
IDSIM_HD inline QueryTerms impossible_query() {
  return {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::min(), 0.0F};
}

// No term is +inf but v, b and v stay positive, and c w stays below 2^112, so that (*) never meets
// inf - inf or 0 * inf. Far below zero, clamping would raise a term, so it becomes -inf.
IDSIM_HD inline float clamped_down(double x) {
  if (x < -0x1p126) return -std::numeric_limits<float>::infinity();
  return round_down_to_float(std::min(x, 0x1p126));
}
IDSIM_HD inline float positive_up(double x) {
  return round_up_to_float(std::max(x, static_cast<double>(std::numeric_limits<float>::min())));
}

// share: kQueryShare, or what other codes set aside; the same for rows and queries.
IDSIM_HD inline RowTerms row_terms(Metric metric, float scale, float residual, double norm,
                                   double share = kQueryShare) {
  if (std::isnan(norm)) return skipped_row();
  if (norm == 0.0) return {1.0F, positive_up(0.0), 0.0F};
  const double s = static_cast<double>(scale);
  const double r = static_cast<double>(residual);
  if (r >= norm) return passing_row();
  if (metric == Metric::cosine) {
    return {static_cast<float>(norm / s), positive_up(r / s * (1.0 + 0x1p-40)), 0.0F};
  }
  const double v = (r + share * norm) / s * (1.0 + 0x1p-40);
  const double w = metric == Metric::l2 ? 0.5 * norm * norm * (1.0 - kSlack) / s : 0.0;
  return {static_cast<float>(1.0 / s), positive_up(v), clamped_down(w)};
}

IDSIM_HD inline QueryBound query_bound(Metric metric, const RowStats& q,
                                       double share = kQueryShare) {
  const double unit = metric == Metric::cosine && q.norm > 0.0 ? 1.0 / q.norm : 1.0;
  const double up = 1.0 + 0x1p-40;
  const double residual = static_cast<double>(q.residual) * unit * up;
  const double norm = q.norm * unit;
  const bool coded = q.norm == 0.0 || static_cast<double>(q.residual) < q.norm;
  return {
      static_cast<double>(q.scale) * unit, residual, (norm + residual) * up, norm, coded, share};
}

// b for rows whose terms set aside a share of their norm (dot, l2).
IDSIM_HD inline double shared_margin(const QueryBound& q) {
  return std::max(q.coded_norm, (q.residual + 8.0 * kSlack * q.norm) / q.share) / q.scale;
}

// Similarities: every row whose canonical float32 score is >= reach passes (*). A real score up to half
// an ulp below `reach` can round up to it, hence the predecessor.
IDSIM_HD inline QueryTerms similarity_terms(Metric metric, const QueryBound& q, float reach) {
  const double t =
      static_cast<double>(std::nextafter(reach, -std::numeric_limits<float>::infinity()));
  if (metric == Metric::cosine) {
    const double slack = kSlack * (std::abs(t) + q.residual + 2.0 * q.coded_norm);
    return {clamped_down((t - q.residual - slack) / q.scale), positive_up(q.coded_norm / q.scale),
            0.0F};
  }
  return {clamped_down((t - kSlack * std::abs(t)) / q.scale), positive_up(shared_margin(q)), 0.0F};
}

// Distances: every row whose canonical float32 distance is <= reach passes (*).
IDSIM_HD inline QueryTerms distance_terms(const QueryBound& q, float reach) {
  const double t =
      static_cast<double>(std::nextafter(reach, std::numeric_limits<float>::infinity()));
  const double qq = q.norm * q.norm;
  const double a = 0.5 * (qq - t * t - 2.0 * kSlack * (qq + t * t)) / q.scale;
  return {clamped_down(a), positive_up(shared_margin(q)), clamped_down((1.0 - kSlack) / q.scale)};
}

IDSIM_HD inline QueryTerms query_terms(Metric metric, const QueryBound& q, float reach) {
  if (!q.coded) return passing_query();
  return metric == Metric::l2 ? distance_terms(q, reach) : similarity_terms(metric, q, reach);
}

IDSIM_HD inline float row_limit(const QueryTerms& q, const RowTerms& x) {
  return q.a * x.u + (q.c * x.w - q.b * x.v);
}

// Bound on |q.x - q^.x^| for a coded pair, in the metric's scaling.
IDSIM_HD inline double product_margin(const QueryBound& q, double row_residual, double row_norm) {
  if (q.norm == 0.0 || row_norm == 0.0) return 0.0;  // residuals of extreme rows may be infinite
  const double row_coded_error = q.coded_norm * row_residual;
  return (row_coded_error + q.residual * row_norm) * (1.0 + 0x1p-30) + 0x1p-40 * q.norm * row_norm;
}

// What q.x can be, in the metric's scaling, by a pair's codes. dot: I, or 256 J1 + J2 where the query has two
// digits (core/nibbles.hpp), or the sum of a pair's 16-bit codes; all are exact in float64.
struct ProductRange {
  double low, high;
  double row_norm;
};

IDSIM_HD inline ProductRange product_range(Metric metric, const QueryBound& q, float scale,
                                           float residual, double norm, double dot) {
  const double unit = metric == Metric::cosine && norm > 0.0 ? 1.0 / norm : 1.0;
  const double row_norm = norm * unit;
  const double product = q.scale * (static_cast<double>(scale) * unit) * dot;
  const double margin = product_margin(q, static_cast<double>(residual) * unit, row_norm) +
                        0x1p-40 * std::abs(product);
  return {product - margin, product + margin, row_norm};
}

// A score that the pair's canonical score is at least as good as.
IDSIM_HD inline float certain_score(Metric metric, const QueryBound& q,
                                    const ProductRange& product) {
  if (metric != Metric::l2) return round_down_to_float(product.low);
  const double squares = q.norm * q.norm + product.row_norm * product.row_norm;
  const double slack = 0x1p-40 * squares;
  const double far = std::sqrt(std::max(0.0, squares - 2.0 * product.low + slack));
  return round_up_to_float(far * (1.0 + 0x1p-40));
}

// A score that the pair's canonical score is at most as good as.
IDSIM_HD inline float possible_score(Metric metric, const QueryBound& q,
                                     const ProductRange& product) {
  if (metric != Metric::l2) return round_up_to_float(product.high);
  const double squares = q.norm * q.norm + product.row_norm * product.row_norm;
  const double slack = 0x1p-40 * squares;
  const double near = std::sqrt(std::max(0.0, squares - 2.0 * product.high - slack));
  return round_down_to_float(near * (1.0 - 0x1p-40));
}

// Both (similarities: certain <= score <= possible; l2 the other way round).
struct ScoreRange {
  float certain;
  float possible;
};

IDSIM_HD inline ScoreRange score_range(Metric metric, const QueryBound& q, float scale,
                                       float residual, double norm, double dot) {
  const ProductRange product = product_range(metric, q, scale, residual, norm, dot);
  return {certain_score(metric, q, product), possible_score(metric, q, product)};
}

}  // namespace idsim

// Fixed bins for cosines on [-1, 1], a power of two of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/bounds.hpp"

namespace idsim {

// s_x of a row scaled to unit length.
IDSIM_HD inline float estimate_scale(float scale, double norm) {
  const double unit = norm > 0.0 ? 1.0 / norm : 0.0;
  return static_cast<float>(static_cast<double>(scale) * unit);
}

// The bin of the estimate s_q s_x I, the same bits everywhere.
IDSIM_HD inline int32_t estimate_bin(float product, float query_scale, float row_scale, int bins) {
  const float half = 0.5F * static_cast<float>(bins);
  const float estimate = std::clamp(product * (query_scale * row_scale), -1.0F, 1.0F);
  return std::min(static_cast<int32_t>((estimate + 1.0F) * half), bins - 1);
}

// The bin of a canonical score.
IDSIM_HD inline int exact_bin(double score, int bins) {
  const double step = 2.0 / bins;  // exact: bins is a power of two
  const double inside = std::clamp(score, -1.0, 1.0);
  const int bin = std::min(static_cast<int>((inside + 1.0) / step), bins - 1);
  // score + 1 may have rounded up to an edge.
  return bin > 0 && -1.0 + bin * step > inside ? bin - 1 : bin;
}

// How far an estimate can be from the canonical score; worst_row: the largest ||rx|| of a unit row.
inline double largest_estimate_error(const QueryBound* queries, int64_t n, double worst_row) {
  double worst = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    if (queries[i].coded) worst = std::max(worst, product_margin(queries[i], worst_row, 1.0));
  }
  // Float32 arithmetic of the estimate and of its bin: a few 2^-24 of values up to 2.
  return worst + 0x1p-20;
}

}  // namespace idsim

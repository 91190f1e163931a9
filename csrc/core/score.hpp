// The canonical score: one definition, the same bits everywhere (docs/precision.md).
//
// dot(a, b): float64, 32 interleaved partial sums. Lane l starts at 0 and adds the products of elements
// l, l+32, l+64, ... in ascending order; lanes are then folded by halves 16, 8, 4, 2, 1. The product of
// two float32 is exact in float64, so fused multiply-add or not gives the same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/types.hpp"

namespace idsim {

inline constexpr int kLanes = 32;

IDSIM_HD inline double fold_lanes(double* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

inline double dot_reference(const float* a, const float* b, int64_t d) {
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < d; ++i) {
    lanes[i % kLanes] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return fold_lanes(lanes);
}

// dot: dot(q, x); norms: sqrt(dot(q, q)) and sqrt(dot(x, x)). A zero row scores 0 against everything.
IDSIM_HD inline float cosine_score(double dot, double query_norm, double row_norm) {
  if (query_norm == 0.0 || row_norm == 0.0) return 0.0F;
  return static_cast<float>(dot / (query_norm * row_norm));
}

// qq = dot(q, q), xx = dot(x, x), dot = dot(q, x).
IDSIM_HD inline float l2_score(double qq, double xx, double dot) {
  return static_cast<float>(std::sqrt(std::max(0.0, (qq + xx) - 2.0 * dot)));
}

// The one order of results: better score first, then lower id.
struct BetterSimilarity {
  IDSIM_HD bool operator()(const Scored& a, const Scored& b) const {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  }
};

struct BetterDistance {
  IDSIM_HD bool operator()(const Scored& a, const Scored& b) const {
    return a.score < b.score || (a.score == b.score && a.id < b.id);
  }
};

}  // namespace idsim

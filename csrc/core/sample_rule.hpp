// A stratified sample of gallery rows, scanned first so that thresholds start high whatever the order of the gallery,
// and what its int8 products prove.
#pragma once

#include <cstdint>

#include "core/bounds.hpp"

namespace idsim {

// One run of `run` rows of every `run * stride` consecutive rows, at a place that a hash of the stratum decides.
struct SampleRule {
  int64_t stride = 0;  // 0: no sample
  int64_t count = 0;   // rows, a multiple of run
  int64_t run = 1;

  IDSIM_HD int64_t row(int64_t i) const { return start(i / run) + i % run; }

 private:
  IDSIM_HD int64_t start(int64_t stratum) const {
    uint64_t h = static_cast<uint64_t>(stratum) + 0x9E3779B97F4A7C15U;  // splitmix64
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
    const auto places = static_cast<uint64_t>(run * (stride - 1) + 1);
    return stratum * run * stride + static_cast<int64_t>((h ^ (h >> 31)) % places);
  }
};

// What a sampled row adds to the key of a pair, in the metric's scaling.
struct SampleTerms {
  float scale;
  float residual;
  float length;  // infinite for a row with NaN or Inf, which gives it the key -inf
  float half_square;
};

IDSIM_HD inline SampleTerms sample_terms(Metric metric, float scale, float residual, double norm) {
  const double unit = metric == Metric::cosine && norm > 0.0 ? 1.0 / norm : 1.0;
  const double x = norm * unit;
  return {static_cast<float>(static_cast<double>(scale) * unit),
          round_up_to_float(static_cast<double>(residual) * unit * (1.0 + 0x1p-40)),
          std::isnan(x) ? std::numeric_limits<float>::infinity()
                        : round_up_to_float(x * (1.0 + 0x1p-40)),
          metric == Metric::l2 ? round_up_to_float(0.5 * x * x * (1.0 + kSlack)) : 0.0F};
}

// What a query adds.
struct KeyTerms {
  float scale;
  float coded_norm;
  float residual;
};

IDSIM_HD inline KeyTerms key_terms(const QueryBound& query) {
  return {static_cast<float>(query.scale), round_up_to_float(query.coded_norm * (1.0 + kSlack)),
          round_up_to_float(query.residual * (1.0 + kSlack) + 4.0 * kSlack * query.norm)};
}

// dot: the sum of products of the pair's codes rounded to float32, or what core/digits.hpp makes of two digits. A key that
// the pair certainly reaches, monotone in the score (score_of_key). float32 arithmetic; its rounding is covered by kSlack
// of every term (|s_q s_x I| is at most ||q^|| ||x^||, which 4 ||q|| ||x|| exceeds for coded rows; others have infinite or
// full residuals).
IDSIM_HD inline float certain_key(const KeyTerms& query, const SampleTerms& x, float dot) {
  const float product = dot * (query.scale * x.scale);
  const float margin = query.coded_norm * x.residual + query.residual * x.length;
  const float key = product - margin - x.half_square;
  // Zero times infinity, for a zero query: no claim.
  return key == key ? key : -std::numeric_limits<float>::infinity();
}

// The score that a pair with this key is at least as good as.
IDSIM_HD inline float score_of_key(Metric metric, const QueryBound& query, float key) {
  const double k = static_cast<double>(key);
  if (metric != Metric::l2) return round_down_to_float(k - 0x1p-40 * std::abs(k));
  const double qq = query.norm * query.norm;
  const double squared = qq - 2.0 * k + 0x1p-40 * (qq + std::abs(k));
  return round_up_to_float(std::sqrt(std::max(0.0, squared)) * (1.0 + 0x1p-40));
}

}  // namespace idsim

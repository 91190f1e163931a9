// A stratified sample of gallery rows, scanned first so that thresholds start high whatever the order of
// the gallery.
#pragma once

#include <cstdint>

#include "core/sample_rule.hpp"
#include "core/threads.hpp"
#include "cpu/source.hpp"

namespace idsim::cpu {

// Sample size: kTileSample rows (kRowSample for few queries, where the sample's scattered reads weigh more),
// or 32 per wanted result, but at most an eighth of the gallery; none where that is under four per result.
// In files it is taken from the front, in short runs: few reads, of what the disk delivers first anyway.
SampleRule choose_sample(const Gallery& gallery, int64_t k, bool few_queries);

// The sampled rows, gathered. Row j of the sample is gallery row rule.row(j).
struct Sample {
  Sample(const Gallery& gallery, Metric metric, const Kernels& kernels, const SampleRule& rule,
         int threads, const Poll& poll);

  SampleRule rule;
  AlignedBuffer<uint8_t> codes;  // [count, d_pad]
  AlignedBuffer<float> u, v, w;  // row terms
  AlignedBuffer<double> norm;
  // For certain_keys, in the metric's scaling: s_x, and upward rounded ||rx||, ||x|| and ||x||^2 / 2 (l2).
  AlignedBuffer<float> scale, residual, length, half_square;

 private:
  void keep(const Block& block, Metric metric, int64_t d_pad, int64_t at);
};

// keys[j] <= q.x_j (l2: q.x_j - ||x_j||^2 / 2) for every sampled row, by its codes; -inf for rows that must
// not count. dots: I of each row.
void certain_keys(const Sample& sample, const QueryBound& query, const int32_t* dots, float* keys);

}  // namespace idsim::cpu

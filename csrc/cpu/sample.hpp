// A stratified sample of gallery rows, scanned first so that thresholds start high whatever the order of
// the gallery.
#pragma once

#include <cstdint>

#include "core/threads.hpp"
#include "cpu/source.hpp"

namespace idsim::cpu {

// One run of `run` rows of every `run * stride` consecutive rows, at a place that a hash of the stratum decides.
struct SampleRule {
  int64_t stride = 0;  // 0: no sample
  int64_t count = 0;   // rows, a multiple of run
  int64_t run = 1;

  int64_t row(int64_t i) const { return start(i / run) + i % run; }

 private:
  int64_t start(int64_t stratum) const {
    uint64_t h = static_cast<uint64_t>(stratum) + 0x9E3779B97F4A7C15U;  // splitmix64
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
    const auto places = static_cast<uint64_t>(run * (stride - 1) + 1);
    return stratum * run * stride + static_cast<int64_t>((h ^ (h >> 31)) % places);
  }
};

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

// The canonical score that a row with such a key is certain to reach.
float score_of_key(Metric metric, const QueryBound& query, float key);

}  // namespace idsim::cpu

// Questions about fixed thresholds: how many rows reach them, and which pairs do.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/exclusion.hpp"
#include "cpu/pair_list.hpp"
#include "cpu/scan.hpp"

namespace idsim::cpu {

// For every query the number of gallery rows whose canonical score reaches each threshold
// (similarities: >=, l2: <=). Pairs that the bounds decide are not rescored.
class CountAbove : public Collector {
 public:
  CountAbove(const MatrixView& queries, Metric metric, std::vector<float> thresholds,
             const Exclusion& exclusion, const Kernels& kernels);

  ScanReport feed(const Gallery& gallery, const ScanOptions& options);
  void finish(int64_t* counts) const;  // [q, thresholds], thresholds in the order given
  int64_t count() const { return queries_.count(); }
  int64_t dim() const { return queries_.dim(); }
  Metric metric() const { return queries_.metric(); }
  // The kernels that the queries were packed for; scans use the same.
  const Kernels& kernels() const { return kernels_; }
  int64_t thresholds() const { return static_cast<int64_t>(thresholds_.size()); }

  void load_terms(int64_t first, int n, float* a) const override;
  void take(const Hits& hits, BlockReader& reader, int worker) override;
  // Bounds from the codes spare most pairs near a threshold their canonical score.
  bool needs_codes() const override { return true; }
  float reach(int64_t) const override { return loosest_; }
  void take_rows(const RowHit*, int64_t, BlockReader&, int) override {}

 private:
  bool reaches(float score, float threshold) const {
    return metric() == Metric::l2 ? score <= threshold : score >= threshold;
  }

  const Kernels& kernels_;
  Queries queries_;
  std::vector<float> thresholds_;
  Exclusion exclusion_;
  float loosest_ = 0.0F;
  std::vector<float> a_;  // [q] terms of the loosest threshold
  std::unique_ptr<std::atomic<int64_t>[]> counts_;
  const Gallery* gallery_ = nullptr;
};

// Every pair whose canonical score reaches the threshold. Throws TooManyPairs.
class PairsAbove : public Collector {
 public:
  PairsAbove(const MatrixView& queries, Metric metric, const Listing& listing,
             const Exclusion& exclusion, const Kernels& kernels);

  ScanReport feed(const Gallery& gallery, const ScanOptions& options);
  const std::vector<FoundPair>& finish() { return list_.finish(); }  // by query, then id
  int64_t count() const { return queries_.count(); }
  int64_t dim() const { return queries_.dim(); }
  Metric metric() const { return queries_.metric(); }
  // The kernels that the queries were packed for; scans use the same.
  const Kernels& kernels() const { return kernels_; }

  void load_terms(int64_t first, int n, float* a) const override;
  void take(const Hits& hits, BlockReader& reader, int worker) override;
  float reach(int64_t) const override { return list_.threshold(); }
  void take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) override;

 private:
  void offer(int64_t query, int64_t row, double row_norm, BlockReader& reader, int worker);

  const Kernels& kernels_;
  Queries queries_;
  Exclusion exclusion_;
  std::vector<float> a_;
  PairList list_;
  const Gallery* gallery_ = nullptr;
};

}  // namespace idsim::cpu

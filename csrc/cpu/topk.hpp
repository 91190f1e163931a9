// Top-k of every query over a gallery that may come in several parts.
//
// Each query keeps the best k exact scores seen so far; the k-th is the threshold that the filter works
// with. What is kept depends on the set of rows alone, so neither the order of parts nor the threads matter.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/exclusion.hpp"
#include "cpu/sample.hpp"
#include "cpu/scan.hpp"

namespace idsim::cpu {

// What the filter did, for a certificate. Counts depend on the order of work; the results do not.
struct Certificate {
  int64_t rows_scanned = 0;  // gallery rows, all parts
  int64_t pairs = 0;         // query-row pairs decided
  int64_t candidates = 0;    // pairs that passed the filter
  int64_t rescored = 0;      // pairs decided by the canonical score
  int64_t skipped_rows = 0;  // gallery rows with NaN or Inf
};

class TopK : public Collector {
 public:
  // threshold: worst score to return (similarities: lowest; l2: highest); -inf / +inf for none.
  TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
       const Exclusion& exclusion, const Kernels& kernels);

  // Adds a gallery part. Throws as scan() does.
  void feed(const Gallery& gallery, const ScanOptions& options);

  // Writes scores [q, k] and ids [q, k], best first, padded with -inf (l2: +inf) and -1.
  void finish(float* scores, int64_t* ids);

  int64_t count() const { return queries_.count(); }
  int64_t k() const { return k_; }
  int64_t dim() const { return queries_.dim(); }
  Metric metric() const { return queries_.metric(); }
  // The kernels that the queries were packed for; scans use the same.
  const Kernels& kernels() const { return kernels_; }
  Certificate certificate() const;
  // The score that query i's rows had to reach: no row below it was looked at more closely.
  float reach(int64_t i) const override {
    return slots_[static_cast<size_t>(i)].reach.load(std::memory_order_relaxed);
  }

  void load_terms(int64_t first, int n, float* a) const override;
  void take(const Hits& hits, BlockReader& reader, int worker) override;
  void take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) override;

 private:
  struct alignas(64) Slot {
    std::atomic_flag lock = ATOMIC_FLAG_INIT;
    std::atomic<float> reach{0.0F};
    std::atomic<float> a{0.0F};
    int64_t size = 0;
  };

  void seed(const Gallery& gallery, const ScanOptions& options);
  void sample_dots(const Sample& sample, int64_t panel, int32_t* dots) const;
  void seed_query(const Sample& sample, int64_t query, const int32_t* dots, int64_t stride,
                  BlockReader& reader, std::vector<float>& keys);
  void offer(const Gallery& gallery, int64_t query, int64_t row, double row_norm,
             BlockReader& reader);
  void insert(int64_t query, float score, int64_t id);
  void raise_reach(Slot& slot, int64_t query, float reach);
  bool better(float a, float b) const { return metric() == Metric::l2 ? a < b : a > b; }

  const Kernels& kernels_;
  Queries queries_;
  int64_t k_;
  Exclusion exclusion_;
  std::vector<Slot> slots_;
  std::unique_ptr<Scored[]> heaps_;   // [q, k]
  const Gallery* gallery_ = nullptr;  // the part being scanned
  SampleRule sampled_;                // its rows that were already offered
  std::atomic<int64_t> candidates_{0};
  std::atomic<int64_t> rescored_{0};
  int64_t rows_scanned_ = 0;
  int64_t skipped_rows_ = 0;
};

}  // namespace idsim::cpu

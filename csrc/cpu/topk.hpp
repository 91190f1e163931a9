// Top-k of every query over a gallery that may come in several parts.
//
// Each query keeps the best k exact scores seen so far; the k-th is the threshold that the filter works
// with. What is kept depends on the set of rows alone, so neither the order of parts nor the threads matter.
//
// The first part starts with guessed thresholds (guess.hpp). A query that they leave with fewer than k rows
// is scanned again with the threshold that the sample proves.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/best.hpp"
#include "cpu/exclusion.hpp"
#include "cpu/pair_list.hpp"
#include "cpu/sample.hpp"
#include "cpu/scan.hpp"

namespace idsim::cpu {

// What the filter did, for a certificate. Counts depend on the order of work; the results do not.
struct Certificate {
  int64_t rows_scanned = 0;   // gallery rows, all parts
  int64_t pairs = 0;          // query-row pairs decided
  int64_t candidates = 0;     // pairs that passed the filter
  int64_t rescored = 0;       // pairs decided by the canonical score
  int64_t skipped_rows = 0;   // gallery rows with NaN or Inf
  int64_t scanned_again = 0;  // queries whose guessed threshold was too high
};

class TopK : public Collector {
 public:
  // threshold: worst score to return (similarities: lowest; l2: highest); -inf / +inf for none.
  // exclusion.triangle counts for the listed pairs alone. With k = 0 nothing is listed.
  TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
       const Exclusion& exclusion, const Kernels& kernels,
       const std::optional<Listing>& listing = std::nullopt);

  // Adds a gallery part. Throws as scan() does, and TooManyPairs.
  void feed(const Gallery& gallery, const ScanOptions& options);

  // Writes scores [q, k] and ids [q, k], best first, padded with -inf (l2: +inf) and -1.
  void finish(float* scores, int64_t* ids);
  // The listed pairs, by query, then id; none where no listing was asked for.
  const std::vector<FoundPair>& finish_pairs();

  int64_t count() const { return queries_.count(); }
  int64_t k() const { return k_; }
  int64_t dim() const { return queries_.dim(); }
  Metric metric() const { return queries_.metric(); }
  // The kernels that the queries were packed for; scans use the same.
  const Kernels& kernels() const { return kernels_; }
  Certificate certificate() const;
  // The score that query i's rows had to reach: no row below it was looked at more closely.
  float reach_of(int64_t i) const {
    return slots_[static_cast<size_t>(i)].reach.load(std::memory_order_relaxed);
  }

  void load_terms(int64_t first, int n, float* a) const override;
  float reach(int64_t i) const override { return looser_of(number(i)); }
  void take(const Hits& hits, BlockReader& reader, int worker) override;
  void end_block(const Block& block, BlockReader& reader, int worker) override;
  void take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) override;

 private:
  struct alignas(64) Slot {
    std::atomic<float> reach{0.0F};
    std::atomic<float> looser{0.0F};  // of reach and the list's threshold
    std::atomic<float> a{0.0F};       // of looser
  };
  struct Pair {
    int32_t row;  // within the block
    int32_t query;
    int32_t dot;
  };
  // A worker's pairs of the block under way that wait for their canonical score.
  struct alignas(64) Waiting {
    std::vector<Pair> pairs, by_row;
    std::vector<int32_t> starts;
    void order(int rows);
  };

  // The query that a scan calls i.
  int64_t number(int64_t i) const { return again_.empty() ? i : again_[static_cast<size_t>(i)]; }

  float looser_of(int64_t query) const {
    return slots_[static_cast<size_t>(query)].looser.load(std::memory_order_relaxed);
  }

  void make_fine_digits(const ScanOptions& options);
  void guess(const Sample& sample, int threads, const Poll& poll);
  void scan_again(const Sample& sample, const ScanOptions& options);
  void end_again();
  float certain_reach(const Sample& sample, int64_t query) const;
  bool passes(const Block& block, int row, int32_t dot, int64_t query) const;
  bool may_reach(const Block& block, const Hit& hit, int64_t query) const;
  void score(const Block& block, BlockReader& reader, int worker);
  void insert(int64_t query, float score, int64_t id, int worker);
  void raise_reach(int64_t query, float reach);
  void set_reach(int64_t query, float reach);
  bool drops(int64_t query, int64_t row) const {
    return exclusion_.any() &&
           exclusion_.drops(query, gallery_->first_id + row, gallery_->groups, row);
  }
  bool better(float a, float b) const { return metric() == Metric::l2 ? a < b : a > b; }

  const Kernels& kernels_;
  Queries queries_;
  int64_t k_;
  float threshold_;
  Exclusion exclusion_;
  bool triangle_;  // of the listed pairs
  std::optional<PairList> list_;
  std::vector<Slot> slots_;
  BestLists best_;
  AlignedBuffer<int8_t> fine_;           // [q, d_pad] second digits of the queries; k >= kFineFrom
  std::vector<QueryBound> fine_bounds_;  // [q] or empty
  std::vector<Waiting> waiting_;         // [threads]
  std::vector<int64_t> again_;           // the queries of the scan under way; empty: all
  std::vector<float> held_;              // [q] in scan_again: rows that reach it are in the lists
  const Gallery* gallery_ = nullptr;     // the part being scanned
  int threads_ = 1;                      // of the last part
  std::atomic<int64_t> candidates_{0};
  std::atomic<int64_t> rescored_{0};
  int64_t rows_scanned_ = 0;
  int64_t skipped_rows_ = 0;
  int64_t scanned_again_ = 0;
};

}  // namespace idsim::cpu

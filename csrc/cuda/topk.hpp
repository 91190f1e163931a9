// Top-k of every query over a gallery that may come in several parts, on the device.
//
// The tile kernel lists for each query the rows that its threshold cannot rule out; they are then scored exactly, the
// best k are kept, and the k-th raises the threshold for the next slab of rows. Where a list overflows, that query
// scores every row of the slab. What is kept depends on the set of rows alone.
#pragma once

#include <cstdint>

#include "cuda/gallery.hpp"
#include "cuda/rows.hpp"
#include "cuda/runtime.hpp"

namespace idsim::cuda {

// A row that the filter let through.
struct Candidate;

// What the filter did; counts depend on the order of work, results do not.
struct Counts {
  unsigned long long candidates;
  unsigned long long rescored;
  unsigned long long overflows;  // query-slab pairs that were scored whole
};

class TopK {
 public:
  // queries: memory that the device can read; only used here. found: updated. threshold: worst score to return.
  // most_digits: 1 keeps few queries from being coded as two digits.
  TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
       const Exclusion& exclusion, NonFinite* found, cudaStream_t stream, int most_digits = 2);

  // Codes the queries for a gallery; feed does so itself, but when the gallery has taken its memory.
  void use(Precision precision);
  // Adds a gallery part, in stream order: the gallery must live until the work is done.
  void feed(const Gallery& gallery);

  // Writes scores [q, k] and ids [q, k] on the device, best first, padded with -inf (l2: +inf) and -1.
  void finish(float* scores, int64_t* ids);

  const Queries::View& queries() const { return queries_.view(); }
  int64_t count() const { return queries_.view().count; }
  int64_t k() const { return k_; }
  Metric metric() const { return queries_.view().metric; }

  // These wait for the device.
  Counts counts() const;
  void fetch_reach(float* out) const;  // [q]

  // The best results so far: lists of k and room for new ones behind them.
  struct Lists {
    float* scores;  // [q, stride]
    int64_t* ids;
    int32_t* sizes;  // [q]
    int64_t stride;
    int64_t k;
  };
  struct Filter {
    float* reach;           // [padded] score that a row has to reach
    float* a;               // [padded] its term (core/bounds.hpp)
    Candidate* candidates;  // [q, capacity]
    unsigned* found;        // [q], beyond capacity where the list overflowed
    int64_t capacity;
    Counts* counts;
  };

 private:
  void seed(const Gallery& gallery);
  void list(const Gallery& slab);
  void scan(const Gallery& slab);

  int64_t k_;
  Exclusion exclusion_;
  cudaStream_t stream_;
  int most_digits_;
  Queries queries_;
  DeviceBuffer<float> scores_, reach_, a_;
  DeviceBuffer<int64_t> ids_;
  DeviceBuffer<int32_t> sizes_;
  DeviceBuffer<Candidate> candidates_;
  DeviceBuffer<unsigned> found_;
  DeviceBuffer<Counts> counts_;
  Lists lists_{};
  Filter filter_{};
  bool seeded_ = false;
};

}  // namespace idsim::cuda

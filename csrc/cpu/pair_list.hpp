// The pairs that reach a fixed threshold, as the workers of a scan find them.
#pragma once

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "core/types.hpp"

namespace idsim::cpu {

// What is listed.
struct Listing {
  float threshold = 0.0F;  // worst score (similarities: lowest; l2: highest)
  int64_t max_pairs = 0;
  int64_t found_before =
      0;  // pairs that the scans of other queries found; they count for max_pairs
};

struct FoundPair {
  int64_t query;
  int64_t id;
  float score;
};

class TooManyPairs : public std::length_error {
 public:
  using std::length_error::length_error;
};

class PairList {
 public:
  PairList(Metric metric, const Listing& listing);

  float threshold() const { return listing_.threshold; }
  bool wants(float score) const {
    return metric_ == Metric::l2 ? score <= listing_.threshold : score >= listing_.threshold;
  }

  // Before a scan with so many workers.
  void make_parts(int workers);
  // Each worker with its own number.
  void add(const FoundPair& pair, int worker) {
    parts_[static_cast<size_t>(worker)].pairs.push_back(pair);
  }
  // After the worker added some. Throws TooManyPairs beyond max_pairs.
  void count(int worker);

  const std::vector<FoundPair>& finish();  // by query, then id

 private:
  struct alignas(64) Part {
    std::vector<FoundPair> pairs;
    size_t counted = 0;
  };

  Metric metric_;
  Listing listing_;
  std::atomic<int64_t> found_;
  std::vector<Part> parts_;  // one per worker
  std::vector<FoundPair> pairs_;
};

}  // namespace idsim::cpu

// The distribution of cosine over all pairs, in one pass and without keeping scores.
//
// Fixed bins on [-1, 1], a power of two of them. A pair that may reach `tail` is binned by its canonical
// score; any other by the estimate s_q s_x I, which is within max_error(worst_row()) of it. Codes are the same on
// every machine, so the counts are too.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/exclusion.hpp"
#include "cpu/scan.hpp"

namespace idsim::cpu {

class Distribution : public DenseCollector {
 public:
  // query_groups [q] or null: with gallery groups, mated pairs (equal labels) are counted apart.
  Distribution(const MatrixView& queries, int bins, float tail, const Exclusion& exclusion,
               const int64_t* query_groups, const Kernels& kernels);

  ScanReport feed(const Gallery& gallery, const ScanOptions& options);
  // Adds to non_mated and mated: [bins]. Without groups every pair counts as non-mated.
  void add_to(uint64_t* non_mated, uint64_t* mated) const;
  // The largest ||rx|| of a unit row met.
  double worst_row() const;
  // How far an estimate may lie from its score, for rows of at most this ||rx||.
  double max_error(double worst_row) const;

  int64_t count() const { return queries_.count(); }
  int64_t dim() const { return queries_.dim(); }
  Metric metric() const { return Metric::cosine; }
  const Kernels& kernels() const { return kernels_; }
  int bins() const { return bins_; }

  bool wants(int64_t first_row, int n, int64_t first_query) const override;
  void take_all(const Block& block, int64_t first_query, const int32_t* dots, BlockReader& reader,
                int worker) override;

 private:
  struct Part {
    std::vector<uint64_t> counts;  // non-mated bins, then mated bins
    double worst_row = 0.0;        // largest ||rx|| of a unit row met
  };

  void take_row(const Block& block, int row, int64_t first_query, int n_queries,
                const int32_t* dots, BlockReader& reader, Part& part) const;

  const Kernels& kernels_;
  Queries queries_;
  int bins_;
  Exclusion exclusion_;
  const int64_t* query_groups_;
  std::vector<float> scale_;  // [panels * kPanel] s_q of unit queries
  std::vector<float> a_;      // [panels * kPanel] terms of the tail
  std::vector<Part> parts_;
  const Gallery* gallery_ = nullptr;
};

}  // namespace idsim::cpu

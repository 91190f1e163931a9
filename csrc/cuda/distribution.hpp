// The distribution of cosine over all pairs, on the device. Fixed bins on [-1, 1]; a pair that may reach `tail` is binned by
// its canonical score, any other by the estimate of its int8 product. The counts are those of the CPU.
#pragma once

#include <cstdint>

#include "cuda/gallery.hpp"
#include "cuda/rows.hpp"
#include "cuda/runtime.hpp"

namespace idsim::cuda {

struct ListedPair;

class Distribution {
 public:
  // query_groups [q] on the device or null: with gallery groups, mated pairs (equal labels) are counted apart.
  Distribution(const MatrixView& queries, int bins, float tail, const Exclusion& exclusion,
               const int64_t* query_groups, NonFinite* found, cudaStream_t stream);

  void feed(const Gallery& gallery);

  // These wait. Adds to non_mated and mated, [bins] each on the host.
  void add_to(uint64_t* non_mated, uint64_t* mated) const;
  double worst_row() const;                  // the largest ||rx|| of a unit row met
  double max_error(double worst_row) const;  // of an estimate, with rows up to that

  int bins() const { return bins_; }
  const Queries::View& queries() const { return queries_.view(); }

  // What the kernels need of it.
  struct View {
    int bins;
    const float* scale;             // [padded] s_q of unit queries
    const float* a;                 // [padded] terms of the tail
    unsigned long long* counts;     // [2, bins] non-mated, mated
    unsigned long long* worst_row;  // bits of the largest ||rx|| of a unit row
    const int64_t* query_groups;
    Exclusion exclusion;
  };

 private:
  void fetch(void* to, const void* from, size_t bytes) const;

  Exclusion exclusion_;
  cudaStream_t stream_;
  Queries queries_;
  int bins_;
  DeviceBuffer<float> scale_, a_;
  DeviceBuffer<unsigned long long> counts_, worst_row_, count_;
  DeviceBuffer<ListedPair> pairs_;
  View view_{};
};

}  // namespace idsim::cuda

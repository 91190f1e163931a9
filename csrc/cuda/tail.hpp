// Questions about fixed thresholds, on the device: how many rows reach them, and which pairs do.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/gallery.hpp"
#include "cuda/rows.hpp"
#include "cuda/runtime.hpp"
#include "cuda/search.hpp"

namespace idsim::cuda {

struct ListedPair;
struct PairList;
struct RowMarks;

// What both questions share: queries, the term of the loosest threshold, and the scan for pairs that may reach it.
class TailScan {
 public:
  TailScan(const MatrixView& queries, Metric metric, float loosest, const Exclusion& exclusion,
           NonFinite* found, cudaStream_t stream);
  virtual ~TailScan() = default;
  TailScan(const TailScan&) = delete;
  TailScan& operator=(const TailScan&) = delete;

  // Codes the queries for a gallery; feed does so itself, but when the gallery has taken its memory.
  void use(Precision precision);
  void feed(const Gallery& gallery);

  const Queries::View& queries() const { return queries_.view(); }

 protected:
  // Decides the listed pairs of a slab; their number is on the device.
  virtual void decide(const Gallery& slab, const ListedPair* pairs,
                      const unsigned long long* count) = 0;
  // Marks the rows that this needs, where they have to be fetched.
  virtual void mark(const Gallery& slab, const ListedPair* pairs, const unsigned long long* count,
                    const RowMarks& marks) = 0;

  Exclusion exclusion_;
  cudaStream_t stream_;

 private:
  // Lists the pairs of a slab with the queries first .. first + padded.
  void list(const Gallery& slab, int64_t first, int64_t padded, const PairList& pairs);

  float loosest_;
  Queries queries_;
  DeviceBuffer<float> a_;
  DeviceBuffer<ListedPair> pairs_;
  DeviceBuffer<unsigned long long> count_;
};

// For every query the number of rows whose canonical score reaches each threshold. Pairs that the bounds decide are not
// rescored.
class CountAbove : public TailScan {
 public:
  CountAbove(const MatrixView& queries, Metric metric, const std::vector<float>& thresholds,
             const Exclusion& exclusion, NonFinite* found, cudaStream_t stream);

  int64_t thresholds() const { return thresholds_; }
  void fetch(int64_t* counts) const;  // [q, thresholds] on the host; waits

 private:
  void decide(const Gallery& slab, const ListedPair* pairs,
              const unsigned long long* count) override;
  void mark(const Gallery& slab, const ListedPair* pairs, const unsigned long long* count,
            const RowMarks& marks) override;

  int thresholds_;
  DeviceBuffer<float> levels_;
  DeviceBuffer<unsigned long long> counts_;
};

// Every pair whose canonical score reaches the threshold, in no order.
class PairsAbove : public TailScan {
 public:
  PairsAbove(const MatrixView& queries, Metric metric, float threshold, const Exclusion& exclusion,
             NonFinite* found, cudaStream_t stream);

  const std::vector<FoundPair>& pairs() const { return pairs_; }

 private:
  void decide(const Gallery& slab, const ListedPair* pairs,
              const unsigned long long* count) override;
  void mark(const Gallery& slab, const ListedPair* pairs, const unsigned long long* count,
            const RowMarks& marks) override;

  float threshold_;
  std::vector<FoundPair> pairs_;
  DeviceBuffer<FoundPair> found_;
  DeviceBuffer<unsigned long long> found_count_;
};

}  // namespace idsim::cuda

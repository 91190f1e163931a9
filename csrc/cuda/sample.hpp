// A sample of a gallery's rows on the device, and what its products prove.
#pragma once

#include "core/sample_rule.hpp"
#include "cuda/gallery.hpp"
#include "cuda/rows.hpp"

namespace idsim::cuda {

class Sample {
 public:
  Sample(const Gallery& gallery, Metric metric, int64_t k, cudaStream_t stream);

  const SampleRule& rule() const { return rule_; }

  // keys [n, rule().count] on the device: what queries first .. first + n certainly reach with each sampled row; -inf
  // for pairs that are left out. first: a multiple of kTileQueries.
  void keys(const Queries::View& queries, const Gallery& gallery, const Exclusion& exclusion,
            int64_t first, int64_t n, float* keys) const;

 private:
  SampleRule rule_;
  cudaStream_t stream_;
  DeviceBuffer<uint8_t> codes_;      // [count, pitch]
  DeviceBuffer<SampleTerms> terms_;  // [count]
};

}  // namespace idsim::cuda

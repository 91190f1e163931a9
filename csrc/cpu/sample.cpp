#include "cpu/sample.hpp"

#include <algorithm>
#include <cstring>

#include "core/threads.hpp"

namespace idsim::cpu {
namespace {

constexpr int64_t kTileSample = 4032;
constexpr int64_t kRowSample = 1008;

}  // namespace

SampleRule choose_sample(int64_t gallery_rows, int64_t k, bool few_queries) {
  const int64_t count = std::max(few_queries ? kRowSample : kTileSample, 32 * k);
  if (gallery_rows / 8 < count) return {};
  return {gallery_rows / count, count};
}

Sample::Sample(const Gallery& gallery, Metric metric, const Kernels& kernels, const SampleRule& sample_rule,
               int threads)
    : rule(sample_rule),
      codes(rule.count * padded_dim(gallery.dim())),
      scale(rule.count),
      residual(rule.count),
      u(rule.count),
      v(rule.count),
      w(rule.count),
      norm(rule.count) {
  const int64_t d_pad = padded_dim(gallery.dim());
  constexpr int64_t rows_per_item = 128;
  const auto gather = [&](int, int64_t item) {
    BlockReader reader(gallery, metric, kernels, 1);
    const int64_t end = std::min((item + 1) * rows_per_item, rule.count);
    for (int64_t j = item * rows_per_item; j < end; ++j) {
      const Block block = reader.read(rule.row(j), 1);
      std::memcpy(codes.data() + j * d_pad, block.codes, static_cast<size_t>(d_pad));
      scale[j] = *block.scale;
      residual[j] = *block.residual;
      norm[j] = *block.norm;
      u[j] = *block.u;
      v[j] = *block.v;
      w[j] = block.w != nullptr ? *block.w : 0.0F;
    }
  };
  parallel_for(threads, (rule.count + rows_per_item - 1) / rows_per_item, gather, {});
}

}  // namespace idsim::cpu

#include "cpu/sample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/threads.hpp"

namespace idsim::cpu {
namespace {

constexpr int64_t kTileSample = 4032;
constexpr int64_t kRowSample = 1008;
// From a disk (528 MB of codes, 2 GB/s) a sample of all rows cost an eighth of the search, of these rows nothing.
constexpr int64_t kFileRows = 1 << 16;
constexpr int64_t kFileRun = 16;

}  // namespace

SampleRule choose_sample(const Gallery& gallery, int64_t k, bool few_queries) {
  const int64_t run = gallery.in_file() ? kFileRun : 1;
  const int64_t rows = gallery.in_file() ? std::min(gallery.count(), kFileRows) : gallery.count();
  const int64_t wanted = std::max(few_queries ? kRowSample : kTileSample, 32 * k);
  const int64_t count = std::min(wanted, rows / 8) / run * run;
  if (count < 4 * k || count == 0) return {};
  return {rows / count, count, run};
}

Sample::Sample(const Gallery& gallery, Metric metric, const Kernels& kernels,
               const SampleRule& sample_rule, int threads, const Poll& poll)
    : rule(sample_rule),
      codes(rule.count * padded_dim(gallery.dim())),
      u(rule.count),
      v(rule.count),
      w(rule.count),
      norm(rule.count),
      scale(rule.count),
      residual(rule.count),
      length(rule.count),
      half_square(rule.count) {
  const int64_t d_pad = padded_dim(gallery.dim());
  constexpr int64_t rows_per_item = 128;
  const auto gather = [&](int, int64_t item) {
    BlockReader reader(gallery, metric, kernels, static_cast<int>(rule.run));
    const int64_t end = std::min((item + 1) * rows_per_item, rule.count);
    for (int64_t j = item * rows_per_item; j < end; j += rule.run) {
      keep(reader.read(rule.row(j), static_cast<int>(rule.run)), metric, d_pad, j);
    }
  };
  parallel_for(threads, (rule.count + rows_per_item - 1) / rows_per_item, gather, poll);
}

void Sample::keep(const Block& block, Metric metric, int64_t d_pad, int64_t at) {
  std::memcpy(codes.data() + at * d_pad, block.codes, static_cast<size_t>(block.n * d_pad));
  for (int i = 0; i < block.n; ++i) {
    const int64_t j = at + i;
    norm[j] = block.norm[i];
    const SampleTerms terms = sample_terms(metric, block.scale[i], block.residual[i], norm[j]);
    scale[j] = terms.scale;
    residual[j] = terms.residual;
    length[j] = terms.length;
    half_square[j] = terms.half_square;
    u[j] = block.u[i];
    v[j] = block.v[i];
    w[j] = block.w != nullptr ? block.w[i] : 0.0F;
  }
}

void certain_keys(const Sample& sample, const QueryBound& query, const int32_t* dots, float* keys) {
  const KeyTerms terms = key_terms(query);
  for (int64_t j = 0; j < sample.rule.count; ++j) {
    keys[j] = certain_key(
        terms, {sample.scale[j], sample.residual[j], sample.length[j], sample.half_square[j]},
        static_cast<float>(dots[j]));
  }
}

}  // namespace idsim::cpu

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
    const double unit = metric == Metric::cosine && norm[j] > 0.0 ? 1.0 / norm[j] : 1.0;
    const double x = norm[j] * unit;
    scale[j] = static_cast<float>(static_cast<double>(block.scale[i]) * unit);
    residual[j] =
        round_up_to_float(static_cast<double>(block.residual[i]) * unit * (1.0 + 0x1p-40));
    // A row with NaN or Inf gets an infinite length and with it the key -inf.
    length[j] = std::isnan(x) ? std::numeric_limits<float>::infinity()
                              : round_up_to_float(x * (1.0 + 0x1p-40));
    half_square[j] = metric == Metric::l2 ? round_up_to_float(0.5 * x * x * (1.0 + kSlack)) : 0.0F;
    u[j] = block.u[i];
    v[j] = block.v[i];
    w[j] = block.w != nullptr ? block.w[i] : 0.0F;
  }
}

// float32 arithmetic; its rounding is covered by kSlack of every term (|s_q s_x I| is at most
// ||q^|| ||x^||, which 4 ||q|| ||x|| exceeds for coded rows; others have infinite or full residuals).
void certain_keys(const Sample& sample, const QueryBound& query, const int32_t* dots, float* keys) {
  const auto scale = static_cast<float>(query.scale);
  const float coded_norm = round_up_to_float(query.coded_norm * (1.0 + kSlack));
  const float residual =
      round_up_to_float(query.residual * (1.0 + kSlack) + 4.0 * kSlack * query.norm);
  for (int64_t j = 0; j < sample.rule.count; ++j) {
    const float product = static_cast<float>(dots[j]) * (scale * sample.scale[j]);
    const float margin = coded_norm * sample.residual[j] + residual * sample.length[j];
    const float key = product - margin - sample.half_square[j];
    // Zero times infinity, for a zero query: no claim.
    keys[j] = key == key ? key : -std::numeric_limits<float>::infinity();
  }
}

float score_of_key(Metric metric, const QueryBound& query, float key) {
  const double k = static_cast<double>(key);
  if (metric != Metric::l2) return round_down_to_float(k - 0x1p-40 * std::abs(k));
  const double qq = query.norm * query.norm;
  const double squared = qq - 2.0 * k + 0x1p-40 * (qq + std::abs(k));
  return round_up_to_float(std::sqrt(std::max(0.0, squared)) * (1.0 + 0x1p-40));
}

}  // namespace idsim::cpu

// Top-k of every instruction set and metric, compared byte by byte with the definition in core/score.hpp, and
// with one digest that is the same on every architecture. Runs without Python, so also under an emulator.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "core/score.hpp"
#include "cpu/isa.hpp"
#include "cpu/topk.hpp"

namespace {

using idsim::Metric;
using idsim::Scored;

constexpr int64_t kQueries = 37;  // more than one panel
constexpr int64_t kRows = 1500;
constexpr int64_t kDim = 70;  // not a multiple of the padding
constexpr int64_t kWanted = 11;
// FNV-1a over ids and score bits of the three metrics; any change of the canonical score changes it.
constexpr uint64_t kExpectedDigest = 0xC9DF9D8C3B4B1EF7U;

float uniform(uint64_t& state) {  // splitmix64; multiples of 2^-23 in [-1, 1)
  state += 0x9E3779B97F4A7C15U;
  uint64_t h = state;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
  h ^= h >> 31;
  return static_cast<float>(h >> 40) * 0x1p-23F - 1.0F;
}

struct Data {
  std::vector<float> queries, gallery;
};

// Random rows with ties (repeated rows), near-duplicates of queries, a zero row and tiny rows.
Data make_data() {
  uint64_t state = 20261124;
  Data data;
  data.queries.resize(kQueries * kDim);
  data.gallery.resize(kRows * kDim);
  for (float& x : data.queries) x = uniform(state);
  for (float& x : data.gallery) x = uniform(state);
  const auto row = [&](int64_t i) { return data.gallery.begin() + i * kDim; };
  for (int64_t i = 100; i < 160; ++i) std::copy_n(row(i % 7), kDim, row(i));
  for (int64_t i = 200; i < 200 + kQueries; ++i) {
    std::copy_n(data.queries.begin() + (i - 200) * kDim, kDim, row(i));
    *row(i) += 0x1p-10F;
  }
  std::fill_n(row(300), kDim, 0.0F);
  for (int64_t i = 0; i < kDim; ++i) row(301)[i] *= 0x1p-60F;
  return data;
}

std::vector<Scored> by_definition(const Data& data, Metric metric) {
  std::vector<Scored> result;
  std::vector<Scored> all(kRows);
  for (int64_t q = 0; q < kQueries; ++q) {
    const float* a = data.queries.data() + q * kDim;
    const double qq = idsim::dot_reference(a, a, kDim);
    for (int64_t i = 0; i < kRows; ++i) {
      const float* b = data.gallery.data() + i * kDim;
      const double dot = idsim::dot_reference(a, b, kDim);
      const double xx = idsim::dot_reference(b, b, kDim);
      float score = static_cast<float>(dot);
      if (metric == Metric::cosine) score = idsim::cosine_score(dot, std::sqrt(qq), std::sqrt(xx));
      if (metric == Metric::l2) score = idsim::l2_score(qq, xx, dot);
      all[static_cast<size_t>(i)] = {score, i};
    }
    if (metric == Metric::l2) {
      std::sort(all.begin(), all.end(), idsim::BetterDistance());
    } else {
      std::sort(all.begin(), all.end(), idsim::BetterSimilarity());
    }
    result.insert(result.end(), all.begin(), all.begin() + kWanted);
  }
  return result;
}

std::vector<Scored> by_engine(const Data& data, Metric metric, const idsim::cpu::Kernels& kernels,
                              int threads) {
  const idsim::MatrixView queries{data.queries.data(), kQueries, kDim, kDim * 4, 4,
                                  idsim::DType::f32};
  idsim::cpu::Gallery gallery;
  gallery.rows.view = {data.gallery.data(), kRows, kDim, kDim * 4, 4, idsim::DType::f32};
  const float none = metric == Metric::l2 ? std::numeric_limits<float>::infinity()
                                          : -std::numeric_limits<float>::infinity();
  idsim::cpu::TopK topk(queries, metric, kWanted, none, {}, kernels);
  topk.feed(gallery, {&kernels, threads, false, {}});
  std::vector<float> scores(kQueries * kWanted);
  std::vector<int64_t> ids(kQueries * kWanted);
  topk.finish(scores.data(), ids.data());
  std::vector<Scored> result;
  for (size_t i = 0; i < scores.size(); ++i) result.push_back({scores[i], ids[i]});
  return result;
}

bool same(const Scored& a, const Scored& b) {
  return std::bit_cast<uint32_t>(a.score) == std::bit_cast<uint32_t>(b.score) && a.id == b.id;
}

uint64_t digest(const std::vector<Scored>& rows, uint64_t h) {
  for (const Scored& row : rows) {
    for (const uint64_t word :
         {static_cast<uint64_t>(row.id), uint64_t{std::bit_cast<uint32_t>(row.score)}}) {
      h = (h ^ word) * 0x100000001B3U;
    }
  }
  return h;
}

}  // namespace

int main() {
  const Data data = make_data();
  uint64_t h = 0xCBF29CE484222325U;
  int failures = 0;
  for (const Metric metric : {Metric::cosine, Metric::dot, Metric::l2}) {
    const std::vector<Scored> expected = by_definition(data, metric);
    h = digest(expected, h);
    for (const idsim::cpu::Kernels* kernels : idsim::cpu::available_kernels()) {
      for (const int threads : {1, 3}) {
        const std::vector<Scored> found = by_engine(data, metric, *kernels, threads);
        const bool equal =
            std::equal(found.begin(), found.end(), expected.begin(), expected.end(), same);
        std::printf("metric %d, %s, %d threads: %s\n", static_cast<int>(metric), kernels->name,
                    threads, equal ? "same bytes" : "DIFFERENT");
        failures += equal ? 0 : 1;
      }
    }
  }
  std::printf("digest %016llx\n", static_cast<unsigned long long>(h));
  if (h != kExpectedDigest) {
    std::printf("the canonical score gives other bytes than %016llx\n",
                static_cast<unsigned long long>(kExpectedDigest));
    ++failures;
  }
  return failures == 0 ? 0 : 1;
}

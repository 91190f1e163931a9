// Few queries over rows without codes. Coding a row costs more than multiplying it with eight queries, so
// float32 products are the filter here.
//
// With g = (d/8 + 16) 2^-24 (Kernels::dots_f32): |dot32 - q.x| <= g ||q|| ||x|| and |squares - x.x| <= g x.x.
// A pair is kept unless these show that its canonical score cannot reach the threshold; kRounding covers the
// float64 arithmetic below and the rounding of the canonical score to float32.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "core/direct.hpp"
#include "core/error.hpp"
#include "cpu/scan.hpp"

namespace idsim::cpu {
namespace {

constexpr int64_t kItemBytes = 1 << 20;
constexpr double kRounding = 0x1p-23;

struct Filter {
  Metric metric;
  double gamma;

  bool keeps(double query_norm, float dot, float square, float reach) const {
    const double xx = static_cast<double>(square);
    const double qq = query_norm * query_norm;
    if (!direct_range(xx) || !direct_range(qq)) return true;
    const double slack = 2.0 * gamma + kRounding;
    const double lengths = query_norm * std::sqrt(xx) * (1.0 + gamma);
    const double high = static_cast<double>(dot) + slack * lengths;  // >= q.x
    const double t = static_cast<double>(reach);
    if (metric == Metric::cosine) return high >= t * lengths - 2.0 * slack * std::abs(t) * lengths;
    if (metric == Metric::dot) return high >= t - slack * std::abs(t);
    return qq + xx - 2.0 * high - 2.0 * slack * (qq + xx) <= t * t * (1.0 + slack);
  }
};

// Rows in memory as float32 with a stride in floats: the source itself or a converted copy.
struct Float32Rows {
  const float* data;
  int64_t stride;
};

Float32Rows float32_rows(const RowSource& source, std::vector<float>& copy) {
  const int64_t n = source.view.rows;
  const int64_t d = source.view.cols;
  if (rows_are_float32(source)) {
    return {static_cast<const float*>(source.view.data), source.view.row_stride / 4};
  }
  copy.resize(static_cast<size_t>(n * d + row_scratch(d)));
  for (int64_t i = 0; i < n; ++i) {
    float* to = copy.data() + i * d;
    const float* row = load_row(source, i, to);
    if (row != to) std::copy(row, row + d, to);
  }
  return {copy.data(), d};
}

struct Worker {
  Worker(const Gallery& gallery, const Queries& queries, const Kernels& kernels, int rows)
      : reader(gallery, queries.metric(), kernels, rows),
        dots(rows * queries.count()),
        squares(rows) {}
  BlockReader reader;
  AlignedBuffer<float> dots;
  AlignedBuffer<float> squares;
  std::vector<float> copy;
  std::vector<RowHit> hits;
};

}  // namespace

ScanReport scan_direct(const Gallery& gallery, const Queries& queries, Collector& collector,
                       const ScanOptions& options) {
  const Kernels& kernels = *options.kernels;
  const int64_t d = gallery.dim();
  const int64_t n = gallery.count();
  const auto n_queries = static_cast<int>(queries.count());
  const auto per_item = static_cast<int>(std::clamp<int64_t>(kItemBytes / (4 * d), 16, 4096));
  const Filter filter{queries.metric(), (static_cast<double>(d) / 8.0 + 16.0) * 0x1p-24};
  std::vector<std::unique_ptr<Worker>> workers(static_cast<size_t>(options.threads));
  std::atomic<int64_t> skipped{0};
  std::atomic<bool> met_nonfinite{false};

  const auto body = [&](int w, int64_t item) {
    auto& worker = workers[static_cast<size_t>(w)];
    if (!worker) worker = std::make_unique<Worker>(gallery, queries, kernels, per_item);
    const int64_t first = item * per_item;
    const auto rows = static_cast<int>(std::min<int64_t>(per_item, n - first));
    const Float32Rows raw = float32_rows(worker->reader.rows(first, rows), worker->copy);
    kernels.dots_f32(raw.data, raw.stride, rows, queries.row(0), n_queries, d, worker->dots.data(),
                     worker->squares.data());
    worker->hits.clear();
    for (int i = 0; i < rows; ++i) {
      const float square = worker->squares[i];
      const float* row = raw.data + i * raw.stride;
      if (!std::isfinite(square) && !std::isfinite(kernels.dot(row, row, d))) {
        if (!options.skip_nonfinite) {
          met_nonfinite.store(true);
          throw NonFiniteRow("gallery", gallery.first_id + first + i);
        }
        skipped.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      for (int q = 0; q < n_queries; ++q) {
        const float dot = worker->dots[i * n_queries + q];
        if (filter.keeps(queries.norm(q), dot, square, collector.reach(q))) {
          worker->hits.push_back({first + i, q});
        }
      }
    }
    if (worker->hits.empty()) return;
    collector.take_rows(worker->hits.data(), static_cast<int64_t>(worker->hits.size()),
                        worker->reader, w);
  };
  Poll poll;
  if (options.poll) poll = [&](int64_t done) { options.poll(std::min(done * per_item, n)); };
  try {
    parallel_for(options.threads, (n + per_item - 1) / per_item, body, poll);
  } catch (const NonFiniteRow&) {
    if (!met_nonfinite.load()) throw;
    throw NonFiniteRow("gallery", gallery.first_id + first_nonfinite_row(gallery.rows, kernels));
  }
  if (options.poll) options.poll(n);
  return {skipped.load()};
}

}  // namespace idsim::cpu

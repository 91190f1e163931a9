#include "cpu/prepare.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace idsim::cpu {
namespace {

constexpr int64_t kRowsPerItem = 512;

void ask_for_huge_pages(void* first, int64_t bytes) {
  constexpr uintptr_t page = 2 * 1024 * 1024;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(first) + page - 1) / page * page;
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(first) + static_cast<uintptr_t>(bytes)) / page * page;
  // A hint: where the system refuses, the codes lie in small pages.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

// Calls visit(row number, float32 row) for all rows; false means NaN or Inf.
template <class Visit>
int64_t for_rows(const RowSource& rows, const ScanOptions& options, const Visit& visit) {
  const int64_t n = rows.view.rows;
  std::atomic<int64_t> bad{0};
  const auto body = [&](int, int64_t item) {
    AlignedBuffer<float> scratch(row_scratch(rows.view.cols));
    const int64_t end = std::min((item + 1) * kRowsPerItem, n);
    for (int64_t i = item * kRowsPerItem; i < end; ++i) {
      if (!visit(i, load_row(rows, i, scratch.data()))) bad.fetch_add(1, std::memory_order_relaxed);
    }
  };
  Poll poll;
  if (options.poll) poll = [&](int64_t done) { options.poll(std::min(done * kRowsPerItem, n)); };
  parallel_for(options.threads, (n + kRowsPerItem - 1) / kRowsPerItem, body, poll);
  if (options.poll) options.poll(n);
  return bad.load();
}

}  // namespace

ScanReport prepare(const RowSource& rows, const PreparedArrays& out, const ScanOptions& options) {
  const Kernels& kernels = *options.kernels;
  const int64_t d = rows.view.cols;
  const int64_t d_pad = padded_dim(d);
  ask_for_huge_pages(out.codes, rows.view.rows * d_pad);
  const int64_t bad = for_rows(rows, options, [&](int64_t i, const float* row) {
    const RowStats stats = kernels.quantize_row(row, d, out.codes + i * d_pad);
    out.scale[i] = stats.scale;
    out.residual[i] = stats.residual;
    out.norm[i] = stats.norm;
    return !std::isnan(stats.norm);
  });
  if (bad > 0 && !options.skip_nonfinite)
    throw NonFiniteRow("gallery", first_nonfinite_row(rows, kernels));
  return {bad};
}

NibbleArrays make_nibbles(const Gallery& gallery, Metric metric, const ScanOptions& options) {
  const int64_t n = gallery.count(), d = gallery.dim();
  const int64_t row_bytes = nibble_bytes(padded_dim(d));
  NibbleArrays out;
  out.codes = AlignedBuffer<uint8_t>(n * row_bytes);
  ask_for_huge_pages(out.codes.data(), n * row_bytes);
  const auto size = static_cast<size_t>(n);
  out.terms.u.resize(size);
  out.terms.v.resize(size);
  if (metric == Metric::l2) out.terms.w.resize(size);
  for_rows(gallery.rows, options, [&](int64_t i, const float* row) {
    NibbleStats stats{1.0F, std::numeric_limits<float>::infinity()};
    uint8_t* nibbles = out.codes.data() + i * row_bytes;
    if (gallery.norm[i] > static_cast<double>(gallery.residual[i])) {
      stats = options.kernels->nibble_row(row, d, gallery.codes + i * padded_dim(d),
                                          gallery.scale[i], nibbles);
    } else {
      std::fill(nibbles, nibbles + row_bytes, uint8_t{0});
    }
    const RowTerms t = nibble_terms(metric, stats, gallery.norm[i]);
    const auto at = static_cast<size_t>(i);
    out.terms.u[at] = t.u;
    out.terms.v[at] = t.v;
    if (metric == Metric::l2) out.terms.w[at] = t.w;
    return true;
  });
  return out;
}

void normalize(const RowSource& rows, float* out, const ScanOptions& options) {
  const Kernels& kernels = *options.kernels;
  const int64_t d = rows.view.cols;
  const int64_t bad = for_rows(rows, options, [&](int64_t i, const float* row) {
    const double norm = std::sqrt(kernels.dot(row, row, d));
    const double divisor = norm == 0.0 ? 1.0 : norm;
    for (int64_t j = 0; j < d; ++j)
      out[i * d + j] = static_cast<float>(static_cast<double>(row[j]) / divisor);
    return std::isfinite(norm);
  });
  if (bad > 0) throw NonFiniteRow("x", first_nonfinite_row(rows, kernels));
}

}  // namespace idsim::cpu

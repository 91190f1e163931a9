#include "cpu/prepare.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>

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

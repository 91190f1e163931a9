#include "cuda/host_rows.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/rows.hpp"
#include "core/threads.hpp"
#include "core/widen.hpp"

namespace idsim::cuda {
namespace {

// Of a copy, per turn of a thread.
constexpr int64_t kCopyBytes = int64_t{1} << 20;
// Single rows that a thread asks a disk for at once.
constexpr int64_t kGatheredTogether = 64;

bool is_dense(const Matrix& rows) {
  const int64_t size = element_bytes(rows.view.dtype);
  return rows.file.fd >= 0 ||
         (rows.view.col_stride == size && rows.view.row_stride == rows.view.cols * size);
}

}  // namespace

HostRows::HostRows(const Matrix& rows)
    : rows_(rows),
      dense_(is_dense(rows)),
      dtype_(dense_ ? rows.view.dtype : DType::f32),
      row_bytes_(rows.view.cols * element_bytes(dtype_)) {}

MatrixView HostRows::view(const void* data, int64_t n) const {
  return {data, n, rows_.view.cols, row_bytes_, element_bytes(dtype_), dtype_};
}

void HostRows::copy_some(int64_t first, int64_t n, char* out) const {
  if (rows_.file.fd >= 0) return read_file(rows_.file, first * row_bytes_, n * row_bytes_, out);
  const MatrixView& view = rows_.view;
  const char* source = static_cast<const char*>(view.data) + first * view.row_stride;
  if (dense_) {
    std::memcpy(out, source, static_cast<size_t>(n * row_bytes_));
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    widen(source + i * view.row_stride, view.col_stride, view.cols, view.dtype,
          reinterpret_cast<float*>(out + i * row_bytes_));
  }
}

void HostRows::copy(int64_t first, int64_t n, char* out) const {
  const int64_t rows = std::max<int64_t>(1, kCopyBytes / row_bytes_);
  const auto copy = [&](int, int64_t item) {
    const int64_t begin = item * rows;
    copy_some(first + begin, std::min(rows, n - begin), out + begin * row_bytes_);
  };
  parallel_for(default_threads(), (n + rows - 1) / rows, copy, {});
}

void HostRows::gather(const int64_t* ids, int64_t n, char* out) const {
  // In the order of the source, so that pages and blocks are met once.
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return ids[a] < ids[b]; });
  RowSource source{rows_.view, rows_.file};
  if (source.file.fd >= 0) source.view.row_stride = row_bytes_;
  const auto copy = [&](int, int64_t item) {
    const int64_t begin = item * kGatheredTogether;
    const int64_t end = std::min(begin + kGatheredTogether, n);
    for (int64_t i = begin; source.file.fd >= 0 && i < end; ++i) {
      expect_row(source, ids[order[static_cast<size_t>(i)]]);
    }
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = order[static_cast<size_t>(i)];
      copy_some(ids[place], 1, out + place * row_bytes_);
    }
  };
  parallel_for(default_threads(), (n + kGatheredTogether - 1) / kGatheredTogether, copy, {});
}

}  // namespace idsim::cuda

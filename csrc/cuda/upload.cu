#include "cuda/upload.hpp"

#include <algorithm>
#include <cstring>

#include "core/device_plan.hpp"
#include "core/rows.hpp"

namespace idsim::cuda {
namespace {

// Of one part on its way: large enough for full transfer speed, small beside device memory.
constexpr int64_t kPartBytes = int64_t{32} << 20;

// A part holds codes, norms, scales and residuals, one kind after the other, widest first, so that all are aligned for any
// number of rows.
CodedRows coded_part(char* part, int64_t n, int64_t d_pad) {
  CodedRows out;
  out.codes = reinterpret_cast<uint8_t*>(part);
  out.norm = reinterpret_cast<double*>(part + n * d_pad);
  out.scale = reinterpret_cast<float*>(out.norm + n);
  out.residual = out.scale + n;
  return out;
}

PartStream::Fill code_filler(const CodeArrays& codes, int64_t d_pad) {
  return [codes, d_pad](char* out, int64_t first, int64_t n) {
    const CodedRows part = coded_part(out, n, d_pad);
    const auto copy = [&](const HostColumn& from, void* to, int64_t row_bytes) {
      if (from.file.fd >= 0) return read_file(from.file, first * row_bytes, n * row_bytes, to);
      std::memcpy(to, static_cast<const char*>(from.data) + first * row_bytes,
                  static_cast<size_t>(n * row_bytes));
    };
    // The codes are nearly all of it: as rows of bytes, with all cores.
    const Matrix bytes{
        {codes.codes.data, first + n, d_pad / 4, d_pad, 4, DType::f32}, false, codes.codes.file};
    HostRows(bytes).copy(first, n, out);
    copy(codes.norm, part.norm, sizeof(double));
    copy(codes.scale, part.scale, sizeof(float));
    copy(codes.residual, part.residual, sizeof(float));
  };
}

}  // namespace

RowStream::RowStream(const Matrix& rows, int64_t part_rows, cudaStream_t stream)
    : rows_(rows), host_(rows), part_rows_(part_rows) {
  if (rows.on_device) return;
  parts_.emplace(
      rows.view.rows, part_rows, host_.row_bytes(),
      [this](char* out, int64_t first, int64_t n) { host_.copy(first, n, out); }, stream);
}

bool RowStream::next(MatrixView* part, int64_t* first) {
  if (parts_) {
    const PartStream::Part next = parts_->next();
    *first = next.first;
    *part = host_.view(next.data, next.rows);
    return next.rows > 0;
  }
  *first = done_;
  *part = rows_.view;
  part->rows = std::min(part_rows_, rows_.view.rows - done_);
  part->data = static_cast<const char*>(rows_.view.data) + done_ * rows_.view.row_stride;
  done_ += part->rows;
  return part->rows > 0;
}

CodeStream::CodeStream(const CodeArrays& codes, int64_t rows, int64_t dim, Metric metric,
                       int64_t part_rows, cudaStream_t stream)
    : metric_(metric),
      stream_(stream),
      d_pad_(padded_dim(dim)),
      parts_(rows, part_rows, sent_code_bytes(dim), code_filler(codes, d_pad_), stream),
      u_(part_rows, stream),
      v_(part_rows, stream),
      w_(metric == Metric::l2 ? part_rows : 0, stream) {}

bool CodeStream::next(CodedRows* part, int64_t* first, int64_t* n, int64_t first_id,
                      NonFinite* found) {
  const PartStream::Part next = parts_.next();
  *first = next.first;
  *n = next.rows;
  if (next.rows == 0) return false;
  *part = coded_part(next.data, next.rows, d_pad_);
  part->u = u_.data();
  part->v = v_.data();
  if (metric_ == Metric::l2) part->w = w_.data();
  derive_terms(*part, next.rows, metric_, first_id + next.first, found, stream_);
  return true;
}

DeviceRows::DeviceRows(const Matrix& rows, cudaStream_t stream) : view_(rows.view) {
  if (rows.on_device || rows.view.rows == 0) return;
  const HostRows host(rows);
  buffer_ = DeviceBuffer<char>(host.rows() * host.row_bytes(), stream);
  view_ = host.view(buffer_.data(), host.rows());
  int64_t part_rows = std::max<int64_t>(1, kPartBytes / host.row_bytes());
  const auto fill = [&](char* out, int64_t first, int64_t n) { host.copy(first, n, out); };
  const auto parts = made_to_fit(&part_rows, 1, [&](int64_t fewer) {
    return std::make_unique<PartStream>(host.rows(), fewer, host.row_bytes(), fill, stream,
                                        buffer_.data());
  });
  while (parts->next().rows > 0) {
  }
}

}  // namespace idsim::cuda

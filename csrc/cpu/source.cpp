#include "cpu/source.hpp"

#include <algorithm>
#include <cmath>

#include "core/threads.hpp"

namespace idsim::cpu {
namespace {

// Measured on Zen 4 (1 MB second-level cache per core): flat between 192 and 384 KB.
constexpr int64_t kBlockBytes = 256 * 1024;
constexpr int64_t kMostRows = 1024;

}  // namespace

int block_rows(const Kernels& kernels, int d_pad) {
  const int64_t staged = kernels.staged_bytes != nullptr ? kernels.staged_bytes(1, d_pad) : 0;
  const int64_t tile = kernels.tile_rows;
  const int64_t tiles = kBlockBytes / std::max<int64_t>(d_pad, staged) / tile;
  return static_cast<int>(tile * std::clamp<int64_t>(tiles, 1, kMostRows / tile));
}

TermArrays make_terms(Metric metric, const float* scale, const float* residual, const double* norm,
                      int64_t n) {
  const FloatingPointScope floating_point;
  TermArrays terms;
  const auto size = static_cast<size_t>(n);
  terms.u.resize(size);
  terms.v.resize(size);
  if (metric == Metric::l2) terms.w.resize(size);
  for (size_t i = 0; i < size; ++i) {
    const RowTerms t = row_terms(metric, scale[i], residual[i], norm[i]);
    if (std::isnan(norm[i])) ++terms.skipped;
    terms.u[i] = t.u;
    terms.v[i] = t.v;
    if (metric == Metric::l2) terms.w[i] = t.w;
  }
  return terms;
}

BlockReader::BlockReader(const Gallery& gallery, Metric metric, const Kernels& kernels,
                         int max_rows)
    : gallery_(gallery),
      metric_(metric),
      kernels_(kernels),
      max_rows_(max_rows),
      d_pad_(static_cast<int>(padded_dim(gallery.dim()))),
      scratch_(row_scratch(gallery.dim())) {
  if (gallery.in_file() && gallery.code_files == nullptr) {
    raw_ = AlignedBuffer<char>(int64_t{max_rows} * gallery.rows.view.row_stride);
  }
}

Block BlockReader::read(int64_t first, int n) {
  Block block;
  block.first = first;
  block.n = n;
  if (gallery_.codes != nullptr) {
    const TermArrays& terms = *gallery_.terms;
    block.codes = gallery_.codes + first * d_pad_;
    block.u = terms.u.data() + first;
    block.v = terms.v.data() + first;
    block.w = metric_ == Metric::l2 ? terms.w.data() + first : nullptr;
    block.scale = gallery_.scale + first;
    block.residual = gallery_.residual + first;
    block.norm = gallery_.norm + first;
    if (first + 2 * int64_t{n} <= gallery_.count()) block.next = block.codes + int64_t{n} * d_pad_;
    if (gallery_.nibbles != nullptr) {
      const TermArrays& nibble_terms = gallery_.nibbles->terms;
      block.nibbles = gallery_.nibbles->codes.data() + first * nibble_bytes(d_pad_);
      block.nibble_u = nibble_terms.u.data() + first;
      block.nibble_v = nibble_terms.v.data() + first;
      block.nibble_w = metric_ == Metric::l2 ? nibble_terms.w.data() + first : nullptr;
    }
    return block;
  }
  if (codes_.data() == nullptr) make_code_buffers();
  if (gallery_.code_files != nullptr) {
    read_codes(first, n);
  } else {
    code_rows(first, n);
  }
  block.codes = codes_.data();
  block.u = u_.data();
  block.v = v_.data();
  block.w = metric_ == Metric::l2 ? w_.data() : nullptr;
  block.scale = scale_.data();
  block.residual = residual_.data();
  block.norm = norm_.data();
  return block;
}

void BlockReader::make_code_buffers() {
  codes_ = AlignedBuffer<uint8_t>(int64_t{max_rows_} * d_pad_);
  for (AlignedBuffer<float>* floats : {&scale_, &residual_, &u_, &v_, &w_}) {
    *floats = AlignedBuffer<float>(max_rows_);
  }
  norm_ = AlignedBuffer<double>(max_rows_);
}

RowSource BlockReader::rows(int64_t first, int n) {
  RowSource out = gallery_.rows;
  out.view.rows = n;
  const int64_t row_bytes = out.view.row_stride;
  if (!gallery_.in_file()) {
    out.view.data = static_cast<const char*>(out.view.data) + first * row_bytes;
    return out;
  }
  loaded_ = 0;
  read_file(out.file, first * row_bytes, n * row_bytes, raw_.data());
  loaded_first_ = first;
  loaded_ = n;
  out.file = {};
  out.view.data = raw_.data();
  return out;
}

const float* BlockReader::row(int64_t i) {
  const int64_t at = i - loaded_first_;
  if (at < 0 || at >= loaded_) return load_row(gallery_.rows, i, scratch_.data());
  MatrixView view = gallery_.rows.view;
  view.data = raw_.data();
  return load_row({view, {}}, at, scratch_.data());
}

void BlockReader::read_codes(int64_t first, int n) {
  const CodeFiles& files = *gallery_.code_files;
  const auto read = [&](const FilePart& file, auto& to, int64_t row_bytes) {
    read_file(file, first * row_bytes, n * row_bytes, to.data());
  };
  read(files.codes, codes_, d_pad_);
  read(files.scale, scale_, sizeof(float));
  read(files.residual, residual_, sizeof(float));
  read(files.norm, norm_, sizeof(double));
  for (int i = 0; i < n; ++i) {
    const RowTerms t = row_terms(metric_, scale_[i], residual_[i], norm_[i]);
    u_[i] = t.u;
    v_[i] = t.v;
    w_[i] = t.w;
  }
}

void BlockReader::code_rows(int64_t first, int n) {
  if (gallery_.in_file()) rows(first, n);
  for (int i = 0; i < n; ++i) {
    const RowStats stats =
        kernels_.quantize_row(row(first + i), gallery_.dim(), codes_.data() + int64_t{i} * d_pad_);
    const RowTerms t = row_terms(metric_, stats.scale, stats.residual, stats.norm);
    scale_[i] = stats.scale;
    residual_[i] = stats.residual;
    norm_[i] = stats.norm;
    u_[i] = t.u;
    v_[i] = t.v;
    w_[i] = t.w;
  }
}

int64_t first_nonfinite_row(const RowSource& rows, const Kernels& kernels) {
  AlignedBuffer<float> scratch(row_scratch(rows.view.cols));
  for (int64_t i = 0; i < rows.view.rows; ++i) {
    const float* row = load_row(rows, i, scratch.data());
    if (!std::isfinite(kernels.dot(row, row, rows.view.cols))) return i;
  }
  return -1;
}

}  // namespace idsim::cpu

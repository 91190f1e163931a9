#include "cuda/rows.hpp"

#include <limits>

#include "cuda/dispatch.hpp"
#include "cuda/launch.cuh"
#include "cuda/warp.cuh"

namespace idsim::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = kThreads / kWarpSize;

__device__ int64_t first_row_of_warp() {
  return int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarpSize;
}
__device__ int64_t rows_per_sweep() { return int64_t{gridDim.x} * kRowsPerBlock; }

__device__ void note_nonfinite(NonFinite* found, int64_t row) {
  atomicAdd(&found->count, 1ULL);
  atomicMin(&found->first, static_cast<long long>(row));
}

__device__ void set_terms(const CodedRows& out, int64_t i, Metric metric, const RowStats& stats) {
  const RowTerms terms = row_terms(metric, stats.scale, stats.residual, stats.norm);
  out.u[i] = terms.u;
  out.v[i] = terms.v;
  if (metric == Metric::l2) out.w[i] = terms.w;
}

__global__ __launch_bounds__(kThreads) void set_all_terms(CodedRows rows, int64_t n, Metric metric,
                                                          int64_t first_row, NonFinite* found) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  set_terms(rows, i, metric, {rows.scale[i], rows.residual[i], rows.norm[i]});
  if (std::isnan(rows.norm[i])) note_nonfinite(found, first_row + i);
}

template <DType kType>
__global__ __launch_bounds__(kThreads) void quantize_rows(MatrixView rows, Metric metric,
                                                          CodedRows out, int64_t first_row,
                                                          NonFinite* found) {
  const int64_t d_pad = padded_dim(rows.cols);
  for (int64_t i = first_row_of_warp(); i < rows.rows; i += rows_per_sweep()) {
    uint8_t* code = out.codes + i * d_pad;
    const RowStats stats =
        warp_quantize(row_of<kType>(rows, i), rows.cols, d_pad,
                      [&](int64_t j, int value) { code[j] = static_cast<uint8_t>(value + 128); });
    if (lane_index() != 0) continue;
    out.scale[i] = stats.scale;
    out.residual[i] = stats.residual;
    out.norm[i] = stats.norm;
    set_terms(out, i, metric, stats);
    if (std::isnan(stats.norm)) note_nonfinite(found, first_row + i);
  }
}

template <DType kType>
__global__ __launch_bounds__(kThreads) void unit_rows(MatrixView rows, float* out,
                                                      NonFinite* found) {
  for (int64_t i = first_row_of_warp(); i < rows.rows; i += rows_per_sweep()) {
    const Row<kType> row = row_of<kType>(rows, i);
    const double norm = std::sqrt(warp_dot(row, row, rows.cols));
    const double divisor = norm == 0.0 ? 1.0 : norm;
    for (int64_t j = lane_index(); j < rows.cols; j += kWarpSize) {
      out[i * rows.cols + j] = static_cast<float>(static_cast<double>(row[j]) / divisor);
    }
    if (lane_index() == 0 && !std::isfinite(norm)) note_nonfinite(found, i);
  }
}

// Rows behind the last query get zero codes.
template <DType kType>
__global__ __launch_bounds__(kThreads) void make_queries(MatrixView rows, Queries::View out,
                                                         NonFinite* found) {
  for (int64_t i = first_row_of_warp(); i < out.padded; i += rows_per_sweep()) {
    int8_t* code = out.codes + i * out.d_pad;
    if (i >= out.count) {
      for (int64_t j = lane_index(); j < out.d_pad; j += kWarpSize) code[j] = 0;
      if (lane_index() == 0) {
        out.starts[i] = 0;
        out.b[i] = out.c[i] = 0.0F;
      }
      continue;
    }
    const Row<kType> row = row_of<kType>(rows, i);
    for (int64_t j = lane_index(); j < out.dim; j += kWarpSize) out.rows[i * out.dim + j] = row[j];
    int sum = 0;
    const RowStats stats = warp_quantize(row, out.dim, out.d_pad, [&](int64_t j, int value) {
      code[j] = static_cast<int8_t>(value);
      sum += value;
    });
    sum = fold_warp(sum);
    const double square = warp_dot(row, row, out.dim);
    if (lane_index() != 0) continue;
    if (std::isnan(stats.norm)) note_nonfinite(found, i);
    out.starts[i] = -128 * sum;
    out.bounds[i] = query_bound(out.metric, stats);
    out.norms[i] = stats.norm;
    out.squares[i] = square;
    const QueryTerms terms = query_terms(out.metric, out.bounds[i], 0.0F);
    out.b[i] = terms.b;
    out.c[i] = terms.c;
  }
}

__global__ void clear_nonfinite(NonFinite* found) {
  if (threadIdx.x == 0) *found = {0, std::numeric_limits<long long>::max()};
}

}  // namespace

void quantize(const MatrixView& rows, Metric metric, const CodedRows& out, int64_t first_row,
              NonFinite* found, cudaStream_t stream) {
  if (rows.rows == 0) return;
  with_dtype(rows.dtype, [&](auto type) {
    launch("quantising rows", quantize_rows<type()>, blocks_for(rows.rows, kRowsPerBlock), kThreads,
           0, stream, rows, metric, out, first_row, found);
  });
}

void derive_terms(const CodedRows& rows, int64_t n, Metric metric, int64_t first_row,
                  NonFinite* found, cudaStream_t stream) {
  if (n == 0) return;
  launch("deriving terms", set_all_terms, blocks_for(n, kThreads), kThreads, 0, stream, rows, n,
         metric, first_row, found);
}

void normalize(const MatrixView& rows, float* out, NonFinite* found, cudaStream_t stream) {
  if (rows.rows == 0) return;
  with_dtype(rows.dtype, [&](auto type) {
    launch("normalising rows", unit_rows<type()>, blocks_for(rows.rows, kRowsPerBlock), kThreads, 0,
           stream, rows, out, found);
  });
}

void clear(NonFinite* found, cudaStream_t stream) {
  launch("clearing a counter", clear_nonfinite, dim3(1), kWarpSize, 0, stream, found);
}

NonFinite fetch(const NonFinite* found, cudaStream_t stream) {
  NonFinite out{};
  check(cudaMemcpyAsync(&out, found, sizeof out, cudaMemcpyDefault, stream),
        "copying from the device");
  check(cudaStreamSynchronize(stream), "waiting for the device");
  return out;
}

Queries::Queries(const MatrixView& rows, Metric metric, NonFinite* found, cudaStream_t stream) {
  const int64_t n = rows.rows, d = rows.cols, d_pad = padded_dim(d);
  const int64_t padded = (n + kTileQueries - 1) / kTileQueries * kTileQueries;
  rows_ = DeviceBuffer<float>(n * d, stream);
  codes_ = DeviceBuffer<int8_t>(padded * d_pad, stream);
  starts_ = DeviceBuffer<int32_t>(padded, stream);
  bounds_ = DeviceBuffer<QueryBound>(n, stream);
  norms_ = DeviceBuffer<double>(n, stream);
  squares_ = DeviceBuffer<double>(n, stream);
  b_ = DeviceBuffer<float>(padded, stream);
  c_ = DeviceBuffer<float>(padded, stream);
  view_ = {n,
           d,
           d_pad,
           padded,
           metric,
           rows_.data(),
           codes_.data(),
           starts_.data(),
           bounds_.data(),
           norms_.data(),
           squares_.data(),
           b_.data(),
           c_.data()};
  if (n == 0) return;
  with_dtype(rows.dtype, [&](auto type) {
    launch("preparing queries", make_queries<type()>, blocks_for(padded, kRowsPerBlock), kThreads,
           0, stream, rows, view_, found);
  });
}

}  // namespace idsim::cuda

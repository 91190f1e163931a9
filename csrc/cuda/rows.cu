#include "cuda/rows.hpp"

#include <limits>

#include "core/digits.hpp"
#include "core/direct.hpp"
#include "core/tile_plan.hpp"
#include "cuda/dispatch.hpp"
#include "cuda/launch.cuh"
#include "cuda/ordering.hpp"
#include "cuda/warp.cuh"

namespace idsim::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = kThreads / kWarpSize;

__device__ int64_t first_row_of_warp() {
  return int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarpSize;
}
__device__ int64_t rows_per_sweep() { return int64_t{gridDim.x} * kRowsPerBlock; }

__device__ void set_terms(const CodedRows& out, int64_t i, Metric metric, const RowStats& stats,
                          double share) {
  const RowTerms terms = row_terms(metric, stats.scale, stats.residual, stats.norm, share);
  out.u[i] = terms.u;
  out.v[i] = terms.v;
  if (metric == Metric::l2) out.w[i] = terms.w;
}

__global__ __launch_bounds__(kThreads) void set_all_terms(CodedRows rows, int64_t n, Metric metric,
                                                          int64_t first_row, NonFinite* found) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  set_terms(rows, i, metric, {rows.scale[i], rows.residual[i], rows.norm[i]}, kQueryShare);
  if (std::isnan(rows.norm[i])) note_nonfinite(found, first_row + i);
}

template <DType kType, Precision kPrecision>
__global__ __launch_bounds__(kThreads) void code_rows(MatrixView rows, Metric metric, CodedRows out,
                                                      int64_t first_row, NonFinite* found) {
  constexpr bool half = kPrecision == Precision::float16;
  const int64_t d = rows.cols, d_pad = padded_dim(d);
  for (int64_t i = first_row_of_warp(); i < rows.rows; i += rows_per_sweep()) {
    const int64_t from = out.row(i);
    const Row<kType> row = row_of<kType>(rows, from);
    uint8_t* code = out.codes + i * code_bytes(kPrecision, d);
    RowStats stats;
    if constexpr (half) {
      stats = warp_code_half(row, d, d_pad, half_sum_error(d), reinterpret_cast<uint16_t*>(code));
    } else {
      stats = warp_quantize(row, d, d_pad, [&](int64_t j, int value) {
        code[j] = static_cast<uint8_t>(value + 128);
      });
    }
    if (lane_index() != 0) continue;
    out.scale[i] = stats.scale;
    out.residual[i] = stats.residual;
    out.norm[i] = stats.norm;
    set_terms(out, i, metric, stats, half ? kHalfQueryShare : kQueryShare);
    if (std::isnan(stats.norm)) note_nonfinite(found, first_row + from);
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

template <DType kType>
__global__ __launch_bounds__(kThreads) void take_queries(MatrixView rows, Queries::View out,
                                                         NonFinite* found) {
  for (int64_t i = first_row_of_warp(); i < out.count; i += rows_per_sweep()) {
    const Row<kType> row = row_of<kType>(rows, i);
    for (int64_t j = lane_index(); j < out.dim; j += kWarpSize) out.rows[i * out.dim + j] = row[j];
    const double square = warp_dot(row, row, out.dim);
    if (lane_index() != 0) continue;
    const double norm = std::sqrt(square);
    if (!std::isfinite(norm)) note_nonfinite(found, i);
    out.norms[i] = std::isfinite(norm) ? norm : std::numeric_limits<double>::quiet_NaN();
    out.squares[i] = square;
  }
}

// Codes the second digits of query i, whose first ones the same lanes have written. The bound is lane 0's.
__device__ QueryBound code_fine_digits(const Queries::View& out, int64_t i, float stored_scale,
                                       const QueryBound& coarse) {
  const int64_t column = digit_columns(out.count) + i;
  const uint8_t* code = out.codes + i * out.pitch;
  uint8_t* fine_code = out.codes + column * out.pitch;
  const auto scale = static_cast<double>(stored_scale);
  int sum = 0;
  double lost_squares = 0.0;
  for (int64_t j = lane_index(); j < out.pitch; j += kWarpSize) {
    fine_code[j] = 0;
    if (j >= out.dim || !has_digits(coarse)) continue;
    const FineDigit fine = fine_digit(static_cast<double>(out.rows[i * out.dim + j]),
                                      static_cast<double>(static_cast<int8_t>(code[j])), scale);
    lost_squares += fine.lost * fine.lost;
    fine_code[j] = static_cast<uint8_t>(static_cast<int8_t>(fine.digit));
    sum += static_cast<int>(fine.digit);
  }
  sum = fold_warp(sum);
  lost_squares = fold_warp(lost_squares);
  if (lane_index() == 0) {
    out.starts[column] = -128 * sum;
    out.b[column] = out.c[column] = 0.0F;
  }
  QueryBound fine = fine_bound(coarse, scale, lost_squares);
  fine.share = kTwoDigitShare;
  return fine;
}

// Rows behind the last query get zero codes, but for second digits.
template <Precision kPrecision>
__global__ __launch_bounds__(kThreads) void code_queries(Queries::View out) {
  constexpr bool half = kPrecision == Precision::float16;
  const int64_t d_pad = padded_dim(out.dim);
  for (int64_t i = first_row_of_warp(); i < out.padded; i += rows_per_sweep()) {
    uint8_t* code = out.codes + i * out.pitch;
    const int64_t first_fine = digit_columns(out.count);
    if (out.digits == 2 && i >= first_fine && i < first_fine + out.count) continue;
    if (i >= out.count) {
      for (int64_t j = lane_index(); j < out.pitch; j += kWarpSize) code[j] = 0;
      if (lane_index() == 0) {
        out.starts[i] = 0;
        out.b[i] = out.c[i] = 0.0F;
      }
      continue;
    }
    const float* row = out.rows + i * out.dim;
    int sum = 0;
    RowStats stats;
    if constexpr (half) {
      stats = warp_code_half(row, out.dim, d_pad, 0.0, reinterpret_cast<uint16_t*>(code));
    } else {
      stats = warp_quantize(row, out.dim, d_pad, [&](int64_t j, int value) {
        code[j] = static_cast<uint8_t>(static_cast<int8_t>(value));
        sum += value;
      });
      sum = fold_warp(sum);
    }
    QueryBound bound = query_bound(out.metric, stats, half ? kHalfQueryShare : kQueryShare);
    if constexpr (!half) {
      if (out.digits == 2) bound = code_fine_digits(out, i, stats.scale, bound);
    }
    if (lane_index() != 0) continue;
    out.starts[i] = -128 * sum;
    out.bounds[i] = bound;
    const QueryTerms terms = query_terms(out.metric, out.bounds[i], 0.0F);
    out.b[i] = terms.b;
    out.c[i] = terms.c;
  }
}

// Of queries that are multiplied as they are.
__global__ void bound_queries(Queries::View out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= out.count) return;
  out.bounds[i] = direct_query(out.metric, out.norms[i]);
  const QueryTerms terms = query_terms(out.metric, out.bounds[i], 0.0F);
  out.b[i] = terms.b;
  out.c[i] = terms.c;
}

__global__ void clear_nonfinite(NonFinite* found) {
  if (threadIdx.x == 0) *found = {0, std::numeric_limits<long long>::max()};
}

}  // namespace

void quantize(const MatrixView& rows, Metric metric, const CodedRows& out, int64_t first_row,
              NonFinite* found, cudaStream_t stream) {
  if (rows.rows == 0) return;
  if (out.order != nullptr) order_rows(rows, metric, out, stream);
  with_dtype(rows.dtype, [&](auto type) {
    const auto kernel = out.precision == Precision::float16 ? code_rows<type(), Precision::float16>
                                                            : code_rows<type(), Precision::int8>;
    launch("coding rows", kernel, blocks_for(rows.rows, kRowsPerBlock), kThreads, 0, stream, rows,
           metric, out, first_row, found);
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

Queries::Queries(const MatrixView& rows, Metric metric, NonFinite* found, cudaStream_t stream)
    : stream_(stream), view_{} {
  const int64_t n = rows.rows, d = rows.cols;
  const int64_t padded = (n + kTileQueries - 1) / kTileQueries * kTileQueries;
  rows_ = DeviceBuffer<float>(n * d, stream);
  starts_ = DeviceBuffer<int32_t>(padded, stream);
  bounds_ = DeviceBuffer<QueryBound>(n, stream);
  norms_ = DeviceBuffer<double>(n, stream);
  squares_ = DeviceBuffer<double>(n, stream);
  b_ = DeviceBuffer<float>(padded, stream);
  c_ = DeviceBuffer<float>(padded, stream);
  view_.count = n;
  view_.dim = d;
  view_.padded = padded;
  view_.metric = metric;
  view_.rows = rows_.data();
  view_.norms = norms_.data();
  view_.squares = squares_.data();
  view_.starts = starts_.data();
  view_.bounds = bounds_.data();
  view_.b = b_.data();
  view_.c = c_.data();
  if (n == 0) return;
  with_dtype(rows.dtype, [&](auto type) {
    launch("taking queries", take_queries<type()>, blocks_for(n, kRowsPerBlock), kThreads, 0,
           stream, rows, view_, found);
  });
}

bool Queries::use(Precision precision, int digits) {
  static_assert(2 * kMostTwoDigits <= kTileQueries);  // second digits fill the last tile
  if (view_.precision == precision && view_.digits == digits) return false;
  const int64_t pitch = code_bytes(precision, view_.dim);
  if (codes_.size() < view_.padded * pitch) {
    codes_ = DeviceBuffer<uint8_t>(view_.padded * pitch, stream_);
  }
  view_.precision = precision;
  view_.digits = digits;
  view_.pitch = pitch;
  view_.codes = codes_.data();
  if (precision == Precision::float32) {
    launch("bounding queries", bound_queries, blocks_for(view_.count, kThreads), kThreads, 0,
           stream_, view_);
    return true;
  }
  const auto kernel = precision == Precision::float16 ? code_queries<Precision::float16>
                                                      : code_queries<Precision::int8>;
  launch("coding queries", kernel, blocks_for(view_.padded, kRowsPerBlock), kThreads, 0, stream_,
         view_);
  return true;
}

}  // namespace idsim::cuda

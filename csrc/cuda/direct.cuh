// The kernel for few queries over rows that are read once: float32 dots of the rows themselves (core/direct.hpp), with
// eight queries at a time in shared memory. A warp takes four rows; its lanes are the interleaved partial sums, and after
// folding, lane 8 r + q holds the dot of row r with query q.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "core/direct.hpp"
#include "cuda/dispatch.hpp"
#include "cuda/gallery.hpp"
#include "cuda/launch.cuh"
#include "cuda/ptx/shared.cuh"
#include "cuda/rows.hpp"
#include "cuda/warp.cuh"

namespace idsim::cuda {

inline constexpr int kDirectThreads = 256;
inline constexpr int kDirectQueries = 8;
inline constexpr int kDirectRows = 4;

// Rows of the gallery itself; SampleRule is the other choice.
struct EveryRow {
  int64_t count;
  IDSIM_HD int64_t row(int64_t i) const { return i; }
};

// What a lane has after a warp's products.
struct DirectPair {
  int64_t item;  // row of the choice
  int64_t row;   // of the gallery
  int64_t query;
  float dot;
  float square;  // of the row
  bool real;     // row and query are there
  bool finite;   // the row holds no NaN or Inf
};

// Lane l gets the sum over all lanes of values[l / (32 / kCount)].
template <int kCount>
__device__ float fold_values(float (&values)[kCount]) {
  static_assert(kCount == 4 || kCount == 32);
  int count = kCount;
#pragma unroll
  for (int width = kWarpSize / 2; width > 0; width /= 2) {
    const bool upper = (lane_index() & width) != 0;
    if (count == 1) {
      values[0] += __shfl_xor_sync(kAllLanes, values[0], width);
      continue;
    }
    count /= 2;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      if (i >= count) break;
      const float kept = upper ? values[i + count] : values[i];
      const float given = upper ? values[i] : values[i + count];
      values[i] = kept + __shfl_xor_sync(kAllLanes, given, width);
    }
  }
  return values[0];
}

// Tells rows that hold NaN or Inf from those whose squares overflow in float32. All lanes take part.
template <DType kType>
__device__ bool rows_finite(const MatrixView& rows, const DirectPair& pair) {
  bool finite = true;
  unsigned odd = __ballot_sync(kAllLanes, pair.real && !std::isfinite(pair.square));
  while (odd != 0) {
    const int lane = __ffs(static_cast<int>(odd)) - 1;
    const int group = lane / kDirectQueries;
    const Row<kType> row = row_of<kType>(rows, __shfl_sync(kAllLanes, pair.row, lane));
    const double square = warp_dot(row, row, rows.cols);
    if (lane_index() / kDirectQueries == group) finite = std::isfinite(square);
    odd &= ~(0xFFU << (kDirectQueries * group));
  }
  return finite;
}

// Calls epilogue(pair), with all lanes of a warp, for four rows and the queries first .. first + 8 at a time.
template <DType kType, class Rows, class Epilogue>
__global__ __launch_bounds__(kDirectThreads, 2) void scan_direct(Gallery gallery, Rows choice,
                                                                 Queries::View queries,
                                                                 int64_t first_query, bool staged,
                                                                 Epilogue epilogue) {
  constexpr int warps = kDirectThreads / kWarpSize;
  const int64_t d = queries.dim, last_query = queries.count - 1, last_item = choice.count - 1;
  const auto query_row = [&](int q) {
    const int64_t query = first_query + q;
    return queries.rows + (query < last_query ? query : last_query) * d;
  };
  auto* shared = reinterpret_cast<float*>(ptx::shared_memory());
  for (int q = 0; staged && q < kDirectQueries; ++q) {
    for (int64_t j = threadIdx.x; j < d; j += kDirectThreads) shared[q * d + j] = query_row(q)[j];
  }
  __syncthreads();
  const float* q_rows[kDirectQueries];
#pragma unroll
  for (int q = 0; q < kDirectQueries; ++q) q_rows[q] = staged ? shared + q * d : query_row(q);

  const int64_t stride = int64_t{gridDim.x} * warps * kDirectRows;
  int64_t item0 = (int64_t{blockIdx.x} * warps + threadIdx.x / kWarpSize) * kDirectRows;
  for (; item0 <= last_item; item0 += stride) {
    Row<kType> rows[kDirectRows];
    float dots[kDirectRows * kDirectQueries] = {}, squares[kDirectRows] = {};
#pragma unroll
    for (int r = 0; r < kDirectRows; ++r) {
      rows[r] = row_of<kType>(gallery.rows, choice.row(std::min(item0 + r, last_item)));
    }
#pragma unroll 4
    for (int64_t j = lane_index(); j < d; j += kWarpSize) {
      float x[kDirectRows];
#pragma unroll
      for (int r = 0; r < kDirectRows; ++r) {
        x[r] = rows[r][j];
        squares[r] = std::fma(x[r], x[r], squares[r]);
      }
#pragma unroll
      for (int q = 0; q < kDirectQueries; ++q) {
        const float y = q_rows[q][j];
#pragma unroll
        for (int r = 0; r < kDirectRows; ++r) {
          dots[r * kDirectQueries + q] = std::fma(x[r], y, dots[r * kDirectQueries + q]);
        }
      }
    }
    DirectPair pair;
    pair.item = item0 + lane_index() / kDirectQueries;
    pair.query = first_query + lane_index() % kDirectQueries;
    pair.real = pair.item <= last_item && pair.query <= last_query;
    pair.row = choice.row(std::min(pair.item, last_item));
    pair.dot = direct_dot(fold_values(dots));
    pair.square = fold_values(squares);
    pair.finite = rows_finite<kType>(gallery.rows, pair);
    epilogue(pair);
  }
}

// Terms of rows, kept for when candidates are tested again, and rows with NaN or Inf told once, with the first queries.
struct DirectRows {
  Gallery gallery;
  Metric metric;
  float error;
  bool first;  // queries

  __device__ RowTerms terms(const DirectPair& pair) const {
    return pair.finite ? direct_terms(metric, pair.square, error) : skipped_row();
  }
  __device__ void keep(const DirectPair& pair, const RowTerms& x) const {
    if (!first || !pair.real || lane_index() % kDirectQueries != 0) return;
    gallery.coded.u[pair.row] = x.u;
    gallery.coded.v[pair.row] = x.v;
    if (metric == Metric::l2) gallery.coded.w[pair.row] = x.w;
    if (!pair.finite) note_nonfinite(gallery.found, gallery.first_id + pair.row);
  }
};
inline DirectRows direct_rows(const Gallery& gallery, const Queries::View& queries, bool first) {
  return {gallery, queries.metric, direct_error(queries.dim), first};
}

// make(first) gives the epilogue of the queries first .. first + 8.
template <class Rows, class Make>
void launch_direct(const char* doing, const Gallery& gallery, const Rows& choice,
                   const Queries::View& queries, int64_t first, int64_t n, const Make& make,
                   cudaStream_t stream) {
  const int64_t wanted_bytes = kDirectQueries * queries.dim * int64_t{sizeof(float)};
  const bool staged = wanted_bytes <= device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const size_t shared = staged ? static_cast<size_t>(wanted_bytes) : 0;
  constexpr int64_t rows_per_block = kDirectThreads / kWarpSize * kDirectRows;
  with_dtype(gallery.rows.dtype, [&](auto type) {
    const auto kernel = scan_direct<type(), Rows, decltype(make(first))>;
    const int64_t blocks = std::min((choice.count + rows_per_block - 1) / rows_per_block,
                                    resident_blocks(kernel, kDirectThreads, shared));
    for (int64_t at = first; at < first + n; at += kDirectQueries) {
      launch(doing, kernel, dim3(static_cast<unsigned>(blocks)), kDirectThreads, shared, stream,
             gallery, choice, queries, at, staged, make(at));
    }
  });
}

}  // namespace idsim::cuda

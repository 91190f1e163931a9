// The kernel for few queries: their codes stay in shared memory while the gallery's codes stream through registers, each
// byte read once. Tensor cores do the products (gallery rows are the rows of a fragment), so up to 128 queries cost about
// the reading alone; docs/cuda.md has the arithmetic. Up to 32 are multiplied as two digits each for as little.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/digits.hpp"
#include "core/tile_plan.hpp"
#include "cuda/launch.cuh"
#include "cuda/tile.cuh"

namespace idsim::cuda {

inline constexpr int kRowScanThreads = 256;

// What the kernel is compiled for: kQueries fragments of 8 queries. A warp takes kRows fragments of 16 rows at a time; two
// halve what it reads of the queries in shared memory, which 128 of them would make the limit. kAhead steps of 64 bytes
// are under way while as many are multiplied: 32 KiB per block. Compute capability 12.0, whose registers they would
// exceed at 128 queries, has slower memory, which 8 KiB per multiprocessor keep busy (1.8 TB/s for 0.7 us over 170).
template <int kQueries_>
struct RowScanShape {
  static constexpr int kQueries = kQueries_;
  static constexpr int kRows = kQueries > 8 ? 2 : 1;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
  static constexpr int kAhead = kRows > 1 ? 1 : 4;
#else
  static constexpr int kAhead = 4 / kRows;
#endif
};

// Shared memory holds 64 bytes of every query, then the next 64 of every query: eight lanes read 128 contiguous bytes.
template <int kQueries>
__device__ void stage_queries(const TileScan& scan, char* shared) {
  const int64_t chunks = scan.pitch / 16;
  for (int64_t i = threadIdx.x; i < 8 * kQueries * chunks; i += kRowScanThreads) {
    const int64_t query = i / chunks, chunk = i % chunks;
    const int64_t to = chunk / 4 * (8 * kQueries * kStep) + query * kStep + chunk % 4 * 16;
    *reinterpret_cast<uint4*>(shared + to) =
        *reinterpret_cast<const uint4*>(scan.queries + query * scan.pitch + chunk * 16);
  }
}

// A lane's share of kAhead steps of its rows, lane / 4 + 8 h of the warp's.
template <class Shape>
struct HeldRows {
  static constexpr int kCount = 2 * Shape::kRows;
  uint4 codes[Shape::kAhead][kCount];

  // Rows past the end are read as the last one; the epilogue leaves them out.
  __device__ __forceinline__ void load(const TileScan& scan, int64_t row0, int step, int lane) {
    const int left = static_cast<int>(scan.pitch) / kStep - step;
    const int64_t last = scan.n_rows - 1;
#pragma unroll
    for (int h = 0; h < kCount; ++h) {
      const int64_t row = row0 + lane / 4 + 8 * h;
      const uint8_t* from =
          scan.codes + (row < last ? row : last) * scan.pitch + step * kStep + lane % 4 * 16;
#pragma unroll
      for (int i = 0; i < Shape::kAhead; ++i) {
        if (i < left) codes[i][h] = __ldg(reinterpret_cast<const uint4*>(from + i * kStep));
      }
    }
  }
};

// One step of the held rows with every query.
template <class Codes, class Shape>
__device__ __forceinline__ void multiply_rows(const uint4 (&rows)[2 * Shape::kRows],
                                              const char* queries,
                                              Products<Codes, Shape::kRows, Shape::kQueries>& p) {
#pragma unroll
  for (int j = 0; j < Shape::kQueries; ++j) {
    const uint4 b = *reinterpret_cast<const uint4*>(queries + 8 * j * kStep);
#pragma unroll
    for (int i = 0; i < Shape::kRows; ++i) p.add(i, j, rows[2 * i], rows[2 * i + 1], b);
  }
}

// Epilogue as for scan_tiles.
template <class Codes, class Shape, class Epilogue>
__global__ __launch_bounds__(kRowScanThreads) void scan_rows(TileScan scan, Epilogue epilogue) {
  constexpr int kQueries = Shape::kQueries, kRows = Shape::kRows, kAhead = Shape::kAhead;
  char* shared = ptx::shared_memory();
  stage_queries<kQueries>(scan, shared);
  __syncthreads();
  Products<Codes, kRows, kQueries> p;
  p.lane = static_cast<int>(threadIdx.x) % 32;
  p.warp_row = p.warp_query = 0;
  const char* queries = shared + p.lane / 4 * kStep + p.lane % 4 * 16;
  const int steps = static_cast<int>(scan.pitch) / kStep;
  const int64_t stride = int64_t{gridDim.x} * (kRowScanThreads / 32) * (16 * kRows);
  int64_t row0 = (int64_t{blockIdx.x} * (kRowScanThreads / 32) + threadIdx.x / 32) * (16 * kRows);
  if (row0 >= scan.n_rows) return;
  HeldRows<Shape> next;
  next.load(scan, row0, 0, p.lane);
  for (; row0 < scan.n_rows; row0 += stride) {
    p.start(scan, 0);
    for (int step = 0; step < steps; step += kAhead) {
      const HeldRows<Shape> rows = next;
      const bool ends = step + kAhead >= steps;
      const int64_t next_row = ends ? row0 + stride : row0;
      if (next_row < scan.n_rows) next.load(scan, next_row, ends ? 0 : step + kAhead, p.lane);
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (step + i >= steps) break;
        multiply_rows<Codes, Shape>(rows.codes[i], queries + (step + i) * (8 * kQueries * kStep),
                                    p);
      }
    }
    epilogue(p, row0, 0);
  }
}

// The products of queries of two digits as an epilogue reads them: the first half of the columns holds the first digits.
template <class P>
struct DigitProducts {
  static constexpr int kRowCount = P::kRowCount;
  static constexpr int kQueryCount = P::kQueryCount / 2;
  const P& columns;
  float acc[kRowCount][kQueryCount][4];

  __device__ __forceinline__ explicit DigitProducts(const P& p) : columns(p) {
#pragma unroll
    for (int i = 0; i < kRowCount; ++i) {
#pragma unroll
      for (int j = 0; j < kQueryCount; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          acc[i][j][e] = two_digits_rounded(p.acc[i][j][e], p.acc[i][j + kQueryCount][e]);
        }
      }
    }
  }
  __device__ int row(int i, int e) const { return columns.row(i, e); }
  __device__ int query(int j, int e) const { return columns.query(j, e); }
};

template <class Epilogue>
struct TwoDigits {
  Epilogue epilogue;

  template <class P>
  __device__ __forceinline__ void operator()(const P& p, int64_t row0, int64_t query0) const {
    epilogue(DigitProducts<P>(p), row0, query0);
  }
};

// queries: columns of the queries' codes.
template <class Codes, int kFragments, class Epilogue>
void launch_rows(const char* doing, const TileScan& scan, int64_t queries, const Epilogue& epilogue,
                 cudaStream_t stream) {
  using Shape = RowScanShape<kFragments>;
  constexpr int64_t rows_per_block = 16 * Shape::kRows * (kRowScanThreads / 32);
  const auto shared = static_cast<size_t>(row_scan_bytes(queries, scan.pitch));
  const auto kernel = scan_rows<Codes, Shape, Epilogue>;
  const int64_t resident = resident_blocks(kernel, kRowScanThreads, shared);
  const int64_t wanted = (scan.n_rows + rows_per_block - 1) / rows_per_block;
  launch(doing, kernel, dim3(static_cast<unsigned>(std::min(wanted, resident))), kRowScanThreads,
         shared, stream, scan, epilogue);
}

// plan_tiles chose TileKernel::rows.
template <class Codes, class Epilogue>
void launch_row_scan(const TileScan& scan, int64_t queries, const Epilogue& epilogue,
                     cudaStream_t stream) {
  const auto run = [&](auto fragments) {
    launch_rows<Codes, fragments()>("scanning", scan, queries, epilogue, stream);
  };
  switch (few_fragments(queries)) {
    case 1:
      return run(std::integral_constant<int, 1>{});
    case 2:
      return run(std::integral_constant<int, 2>{});
    case 4:
      return run(std::integral_constant<int, 4>{});
    case 8:
      return run(std::integral_constant<int, 8>{});
    default:
      return run(std::integral_constant<int, 16>{});
  }
}

// The queries have two digits.
template <class Epilogue>
void launch_two_digits(const char* doing, const TileScan& scan, int64_t queries,
                       const Epilogue& epilogue, cudaStream_t stream) {
  const int64_t columns = 2 * digit_columns(queries);
  const auto run = [&](auto fragments) {
    launch_rows<Int8Codes, fragments()>(doing, scan, columns, TwoDigits<Epilogue>{epilogue},
                                        stream);
  };
  static_assert(few_fragments(2 * digit_columns(1)) == 2 &&
                few_fragments(2 * digit_columns(kMostTwoDigits)) == 8);
  switch (few_fragments(columns)) {
    case 2:
      return run(std::integral_constant<int, 2>{});
    case 4:
      return run(std::integral_constant<int, 4>{});
    default:
      return run(std::integral_constant<int, 8>{});
  }
}

}  // namespace idsim::cuda

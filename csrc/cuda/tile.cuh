// The tile kernel: 128 gallery rows x 128 queries of codes per block, the products kept in registers and handed to an
// epilogue. Nothing of size rows x queries reaches memory.
//
// Shared memory holds kStages steps of 64 bytes of every row and query, 64 contiguous bytes each, so that eight lanes
// read 128 contiguous bytes: no bank conflicts without a swizzle. A lane takes 16 bytes of a row (bytes 16t..16t+15,
// t = lane % 4) as its share of two products of 32 bytes. That permutes k against the fragments of the PTX ISA, in the
// same way for rows and queries, which leaves the dot as it is.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/codes.cuh"
#include "cuda/launch.cuh"
#include "cuda/ptx/async_copy.cuh"
#include "cuda/ptx/shared.cuh"
#include "cuda/rows.hpp"

namespace idsim::cuda {

inline constexpr int kTileRows = 128;
inline constexpr int kTileThreads = 256;
inline constexpr int kStep = kDimPad;  // bytes of codes per stage
inline constexpr int kStages = 4;
inline constexpr int kWarpRows = 64;
inline constexpr int kWarpQueries = 32;
inline constexpr int kRowFragments = kWarpRows / 16;
inline constexpr int kQueryFragments = kWarpQueries / 8;
inline constexpr int kStageBytes = (kTileRows + kTileQueries) * kStep;
inline constexpr size_t kTileSharedBytes = size_t{kStages} * kStageBytes;

struct TileScan {
  Precision precision;   // of rows and queries
  int64_t pitch;         // bytes of a row's codes
  const uint8_t* codes;  // [n_rows, pitch]
  int64_t n_rows;
  const uint8_t* queries;  // [query_tiles * kTileQueries, pitch]
  const int32_t* starts;   // [query_tiles * kTileQueries]
  int64_t query_tiles;

  int64_t tiles() const { return (n_rows + kTileRows - 1) / kTileRows * query_tiles; }
};

// Rows with the queries first .. first + padded.
inline TileScan tile_scan(const uint8_t* codes, int64_t n_rows, const Queries::View& queries,
                          int64_t first, int64_t padded) {
  return {queries.precision,
          queries.pitch,
          codes,
          n_rows,
          queries.codes + first * queries.pitch,
          queries.starts + first,
          padded / kTileQueries};
}

// The products of a warp, kRows x kQueries fragments of 16 rows x 8 queries. Element e of a lane's fragment (i, j) belongs
// to row `row(i, e)` and query `query(j, e)` of the tile.
template <class Codes, int kRows, int kQueries>
struct Products {
  static constexpr int kRowCount = kRows;
  static constexpr int kQueryCount = kQueries;
  using Sum = typename Codes::Sum;
  Sum acc[kRows][kQueries][4];
  int warp_row, warp_query, lane;

  __device__ int row(int i, int e) const { return warp_row + 16 * i + lane / 4 + 8 * (e / 2); }
  __device__ int query(int j, int e) const { return warp_query + 8 * j + 2 * (lane % 4) + e % 2; }

  __device__ void start(const TileScan& scan, int64_t query0) {
#pragma unroll
    for (int j = 0; j < kQueries; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const Sum first = Codes::start(scan.starts, query0 + query(j, e));
#pragma unroll
        for (int i = 0; i < kRows; ++i) acc[i][j][e] = first;
      }
    }
  }

  // 64 bytes of 16 rows (`low`: row lane / 4, `high`: 8 further on) by 8 queries.
  __device__ __forceinline__ void add(int i, int j, const uint4& low, const uint4& high,
                                      const uint4& queries) {
    const uint32_t first[4] = {low.x, high.x, low.y, high.y};
    const uint32_t second[4] = {low.z, high.z, low.w, high.w};
    const uint32_t b0[2] = {queries.x, queries.y};
    const uint32_t b1[2] = {queries.z, queries.w};
    Codes::multiply(acc[i][j], first, b0);
    Codes::multiply(acc[i][j], second, b1);
  }
};
template <class Codes>
using TileProducts = Products<Codes, kRowFragments, kQueryFragments>;

// Begins the copies of one stage: 16 bytes per thread, four times.
__device__ inline void load_stage(const TileScan& scan, int64_t row0, int64_t query0, int64_t step,
                                  char* stage) {
  constexpr int kChunks = kStep / 16;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kChunks; i += kTileThreads) {
    const int row = i / kChunks, byte = i % kChunks * 16;
    const bool valid = row0 + row < scan.n_rows;
    const int64_t from = (valid ? row0 + row : 0) * scan.pitch + step * kStep + byte;
    ptx::copy_16(stage + row * kStep + byte, scan.codes + from, valid);
  }
  char* queries = stage + kTileRows * kStep;
  for (int i = static_cast<int>(threadIdx.x); i < kTileQueries * kChunks; i += kTileThreads) {
    const int query = i / kChunks, byte = i % kChunks * 16;
    const int64_t from = (query0 + query) * scan.pitch + step * kStep + byte;
    ptx::copy_16(queries + query * kStep + byte, scan.queries + from, true);
  }
}

template <class Codes>
__device__ void multiply_stage(const char* stage, TileProducts<Codes>& p) {
  const int at = p.lane / 4 * kStep + p.lane % 4 * 16;
  const char* queries = stage + (kTileRows + p.warp_query) * kStep + at;
  uint4 b[kQueryFragments];
#pragma unroll
  for (int j = 0; j < kQueryFragments; ++j) {
    b[j] = *reinterpret_cast<const uint4*>(queries + 8 * j * kStep);
  }
  const char* rows = stage + p.warp_row * kStep + at;
#pragma unroll
  for (int i = 0; i < kRowFragments; ++i) {
    const uint4 low = *reinterpret_cast<const uint4*>(rows + 16 * i * kStep);
    const uint4 high = *reinterpret_cast<const uint4*>(rows + (16 * i + 8) * kStep);
#pragma unroll
    for (int j = 0; j < kQueryFragments; ++j) p.add(i, j, low, high, b[j]);
  }
}

// epilogue(products, row0, query0): row0 and query0 of the tile. Rows at n_rows and beyond are not there.
template <class Codes, class Epilogue>
__global__ __launch_bounds__(kTileThreads, 2) void scan_tiles(TileScan scan, Epilogue epilogue) {
  char* shared = ptx::shared_memory();
  // Neighbouring blocks share their rows, which stay in the second-level cache.
  const int64_t row0 = int64_t{blockIdx.x} / scan.query_tiles * kTileRows;
  const int64_t query0 = int64_t{blockIdx.x} % scan.query_tiles * kTileQueries;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  TileProducts<Codes> p;
  p.lane = static_cast<int>(threadIdx.x) % 32;
  p.warp_row = warp % 2 * kWarpRows;
  p.warp_query = warp / 2 * kWarpQueries;
  p.start(scan, query0);

  const int64_t steps = scan.pitch / kStep;
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) load_stage(scan, row0, query0, s, shared + s * kStageBytes);
    ptx::commit_copies();
  }
  for (int64_t step = 0; step < steps; ++step) {
    ptx::wait_copies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one that is overwritten next
    const int64_t ahead = step + kStages - 1;
    if (ahead < steps)
      load_stage(scan, row0, query0, ahead, shared + ahead % kStages * kStageBytes);
    ptx::commit_copies();
    multiply_stage<Codes>(shared + step % kStages * kStageBytes, p);
  }
  epilogue(p, row0, query0);
}

template <class Codes, class Epilogue>
void launch_tiles(const char* doing, const TileScan& scan, const Epilogue& epilogue,
                  cudaStream_t stream) {
  launch(doing, scan_tiles<Codes, Epilogue>, blocks_for(scan.tiles(), 1), kTileThreads,
         kTileSharedBytes, stream, scan, epilogue);
}

}  // namespace idsim::cuda

// The kernel for few queries: their codes stay in shared memory while the gallery's codes stream through registers, each
// byte read once. Tensor cores do the products (gallery rows are the 16 rows of a fragment), so up to 64 queries cost the
// reading alone.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/launch.cuh"
#include "cuda/tile.cuh"

namespace idsim::cuda {

inline constexpr int kMostFewQueries = 64;
inline constexpr int kRowScanThreads = 256;
inline constexpr int kRowScanAhead = 4;  // steps whose loads are under way together, per warp
inline constexpr int64_t kFewBytes = 48 * 1024;

// Fragments of 8 queries that the kernel is compiled for.
constexpr int few_fragments(int64_t queries) {
  return queries <= 8 ? 1 : queries <= 16 ? 2 : queries <= 32 ? 4 : 8;
}
inline bool fits_row_scan(int64_t queries, int64_t d_pad) {
  return queries <= kMostFewQueries && 8 * few_fragments(queries) * d_pad <= kFewBytes;
}

// Shared memory holds 64 bytes of every query, then the next 64 of every query: eight lanes read 128 contiguous bytes.
template <int kQueries>
__device__ void stage_queries(const TileScan& scan, char* shared) {
  const int64_t chunks = scan.d_pad / 16;
  for (int64_t i = threadIdx.x; i < 8 * kQueries * chunks; i += kRowScanThreads) {
    const int64_t query = i / chunks, chunk = i % chunks;
    const int64_t to = chunk / 4 * (8 * kQueries * kStep) + query * kStep + chunk % 4 * 16;
    *reinterpret_cast<uint4*>(shared + to) =
        *reinterpret_cast<const uint4*>(scan.queries + query * scan.d_pad + chunk * 16);
  }
}

template <int kQueries>
__device__ __forceinline__ void multiply_rows(const uint4& low, const uint4& high,
                                              const char* queries, Products<1, kQueries>& p) {
  const uint32_t first[4] = {low.x, high.x, low.y, high.y};
  const uint32_t second[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
  for (int j = 0; j < kQueries; ++j) {
    const uint4 b = *reinterpret_cast<const uint4*>(queries + 8 * j * kStep);
    const uint32_t b0[2] = {b.x, b.y};
    const uint32_t b1[2] = {b.z, b.w};
    ptx::mma_u8_s8(p.acc[0][j], first, b0);
    ptx::mma_u8_s8(p.acc[0][j], second, b1);
  }
}

// kQueries: fragments of 8 queries. Warps take 16 rows at a time. Epilogue as for scan_tiles.
template <int kQueries, class Epilogue>
__global__ __launch_bounds__(kRowScanThreads) void scan_rows(TileScan scan, Epilogue epilogue) {
  char* shared = ptx::shared_memory();
  stage_queries<kQueries>(scan, shared);
  __syncthreads();
  Products<1, kQueries> p;
  p.lane = static_cast<int>(threadIdx.x) % 32;
  p.warp_row = p.warp_query = 0;
  const int64_t steps = scan.d_pad / kStep;
  const int64_t warps = int64_t{gridDim.x} * (kRowScanThreads / 32);
  const int64_t warp = int64_t{blockIdx.x} * (kRowScanThreads / 32) + threadIdx.x / 32;
  const int64_t last = scan.n_rows - 1;
  for (int64_t row0 = warp * 16; row0 < scan.n_rows; row0 += warps * 16) {
#pragma unroll
    for (int j = 0; j < kQueries; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) p.acc[0][j][e] = scan.starts[p.query(j, e)];
    }
    // Rows past the end are read as the last one; the epilogue leaves them out.
    const int64_t low = row0 + p.lane / 4, high = low + 8;
    const uint8_t* low_codes =
        scan.codes + (low < last ? low : last) * scan.d_pad + p.lane % 4 * 16;
    const uint8_t* high_codes =
        scan.codes + (high < last ? high : last) * scan.d_pad + p.lane % 4 * 16;
    const char* queries = shared + p.lane / 4 * kStep + p.lane % 4 * 16;
    for (int64_t step = 0; step < steps; step += kRowScanAhead) {
      uint4 rows[kRowScanAhead][2];
#pragma unroll
      for (int i = 0; i < kRowScanAhead; ++i) {
        if (step + i >= steps) break;
        rows[i][0] = __ldg(reinterpret_cast<const uint4*>(low_codes + (step + i) * kStep));
        rows[i][1] = __ldg(reinterpret_cast<const uint4*>(high_codes + (step + i) * kStep));
      }
#pragma unroll
      for (int i = 0; i < kRowScanAhead; ++i) {
        if (step + i >= steps) break;
        multiply_rows<kQueries>(rows[i][0], rows[i][1],
                                queries + (step + i) * (8 * kQueries * kStep), p);
      }
    }
    epilogue(p, row0, 0);
  }
}

// fits_row_scan(queries, scan.d_pad) holds.
template <class Epilogue>
void launch_row_scan(const TileScan& scan, int64_t queries, const Epilogue& epilogue,
                     cudaStream_t stream) {
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "asking for the number of multiprocessors");
  constexpr int64_t rows_per_block = 16 * (kRowScanThreads / 32);
  const int64_t wanted = (scan.n_rows + rows_per_block - 1) / rows_per_block;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(wanted, 4 * multiprocessors)));
  const auto run = [&](auto fragments) {
    constexpr int kQueries = fragments();
    launch("scanning", scan_rows<kQueries, Epilogue>, grid, kRowScanThreads,
           static_cast<size_t>(8 * kQueries * scan.d_pad), stream, scan, epilogue);
  };
  switch (few_fragments(queries)) {
    case 1:
      return run(std::integral_constant<int, 1>{});
    case 2:
      return run(std::integral_constant<int, 2>{});
    case 4:
      return run(std::integral_constant<int, 4>{});
    default:
      return run(std::integral_constant<int, 8>{});
  }
}

}  // namespace idsim::cuda

// What a warp group makes of its products with a tile: the pairs that a threshold cannot rule out.
//
// A lane's fragment holds two queries with 32 gallery rows each. It takes the greatest of the 32 products and compares once
// with what the whole tile has to reach (core/tile_bound.hpp); only where that is reached are pairs looked at one by one.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/tile_bound.hpp"
#include "cuda/ptx/reduce.cuh"

namespace idsim::cuda {

// A lane's products with query lane / 4 + 8 * half of its warp's 16: their places in the fragment, and rows of the tile.
__device__ constexpr int element_of(int i, int half) { return i / 2 * 4 + 2 * half + i % 2; }
__device__ inline int column_of(int i, int lane) { return i / 2 * 8 + lane % 4 * 2 + i % 2; }
inline constexpr int kColumns = 32;  // of a lane, for each query

// The terms of a tile's rows, four to a lane, on their way while the tile is multiplied.
struct HeldTerms {
  RowTerms rows[4];

  template <class Lister>
  __device__ __forceinline__ void load(const Lister& lister, int64_t row0, int64_t n_rows,
                                       int lane) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = row0 + 32 * i + lane;
      rows[i] = row < n_rows ? lister.row_terms(row) : skipped_row();
    }
  }
  __device__ __forceinline__ TileTerms reduced() const {
    TileTerms all;
#pragma unroll
    for (int i = 0; i < 4; ++i) all = joined(all, tile_terms(rows[i]));
    return {ptx::warp_least(all.least_u), ptx::warp_most(all.most_u), ptx::warp_most(all.most_v),
            ptx::warp_least(all.least_w)};
  }
};

// A query of a lane, and what its sums lack.
template <class Sum>
struct HeldQuery {
  int64_t number;
  QueryTerms terms;
  Sum start;
};

template <class Codes, class Lister>
__device__ HeldQuery<typename Codes::Sum> held_query(int64_t query, int64_t n_queries,
                                                     const int32_t* starts, const Lister& lister) {
  if (query >= n_queries) return {query, impossible_query(), 0};
  return {query, lister.query_terms(query), Codes::start(starts, query)};
}

// The pairs of one query whose products reach `least`, one by one.
template <class Sum, class Lister>
__device__ __forceinline__ void list_hits(const Sum (&acc)[64], int half, Sum least,
                                          const HeldQuery<Sum>& query, int64_t row0, int64_t n_rows,
                                          const Lister& lister, int lane) {
  unsigned hits = 0;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) hits |= unsigned{acc[element_of(i, half)] >= least} << i;
  while (hits != 0) {
    const int i = __ffs(static_cast<int>(hits)) - 1;
    hits &= hits - 1;
    Sum sum = acc[element_of(0, half)];
#pragma unroll
    for (int j = 1; j < kColumns; ++j) sum = j == i ? acc[element_of(j, half)] : sum;
    const int64_t row = row0 + column_of(i, lane);
    if (row >= n_rows) continue;
    const Sum dot = sum + query.start;
    if (static_cast<float>(dot) >= row_limit(query.terms, lister.row_terms(row))) {
      lister.keep(query.number, row, dot);
    }
  }
}

// acc: of a lane; half: which of its two queries.
template <class Codes, class Lister>
__device__ __forceinline__ void list_reached(const typename Codes::Sum (&acc)[64], int half,
                                             const HeldQuery<typename Codes::Sum>& query,
                                             const TileTerms& tile, int64_t row0, int64_t n_rows,
                                             const Lister& lister, int lane) {
  const auto least = Codes::least(tile_limit(query.terms, tile), query.start);
  auto greatest = acc[element_of(0, half)];
#pragma unroll
  for (int i = 1; i < kColumns; ++i) greatest = Codes::greater(greatest, acc[element_of(i, half)]);
  if (greatest >= least) list_hits(acc, half, least, query, row0, n_rows, lister, lane);
}

}  // namespace idsim::cuda

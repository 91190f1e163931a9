// Pairs that a scan with fixed thresholds could not rule out, in one list that cannot overflow: a slab has no more pairs
// than the list has room.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/gallery.hpp"
#include "cuda/runtime.hpp"
#include "cuda/tile.cuh"
#include "cuda/warp.cuh"

namespace idsim::cuda {

struct ListedPair {
  int32_t query;
  int32_t slot;  // of the slab
  StoredSum dot;
};

struct PairList {
  ListedPair* pairs;
  unsigned long long* count;

  __device__ void add(int64_t query, int64_t row, StoredSum dot) const {
    pairs[atomicAdd(count, 1ULL)] = {static_cast<int32_t>(query), static_cast<int32_t>(row), dot};
  }
};

inline constexpr int64_t kListedPairs = int64_t{1} << 24;

// Rows of a slab, such that all pairs with the queries fit.
inline int64_t slab_rows(int64_t queries) {
  return std::max<int64_t>(kListedPairs / std::max<int64_t>(queries, 1) / kTileRows * kTileRows,
                           kTileRows);
}
// Makes room for all pairs of `queries` with the rows of a slab. rows: fewer afterwards where the device is short of
// memory.
inline void make_room(DeviceBuffer<ListedPair>& pairs, int64_t queries, int64_t* rows,
                      cudaStream_t stream) {
  if (pairs.size() >= queries * *rows) return;
  pairs = {};
  pairs = made_to_fit(rows, kTileRows, [&](int64_t fewer) {
    return DeviceBuffer<ListedPair>(queries * fewer, stream);
  });
}
// Queries worked on at a time, so that even one row of tiles fits.
inline constexpr int64_t kMostQueries = kListedPairs / kTileRows;

// Threads of a block, and blocks, that go through a list whose length only the device knows.
inline constexpr int kListThreads = 256;
inline constexpr int64_t kListBlocks = 2048;

// Calls visit(pair) for each listed pair, with all lanes of a warp.
template <class Visit>
__device__ void for_listed(const ListedPair* pairs, const unsigned long long* count,
                           const Visit& visit) {
  constexpr int warps = kListThreads / kWarpSize;
  const auto n = static_cast<int64_t>(*count);
  const int64_t step = int64_t{gridDim.x} * warps;
  for (int64_t i = int64_t{blockIdx.x} * warps + threadIdx.x / kWarpSize; i < n; i += step) {
    visit(pairs[i]);
  }
}

// Appends the pairs of a tile whose bit is set: bit 32 half + 8 i + 2 j + e of `hits` stands for element 2 half + e of
// fragment (i, j).
struct TileHits {
  uint64_t bits = 0;

  __device__ static int bit(int i, int j, int half, int e) { return 32 * half + 8 * i + 2 * j + e; }
  __device__ void set(int i, int j, int half, int e, bool hit) {
    bits |= uint64_t{hit} << bit(i, j, half, e);
  }
};
static_assert(kRowFragments * kQueryFragments * 4 == 64);

template <class P>
__device__ void append_hits(const P& p, const TileHits& hits, int64_t row0, int64_t query0,
                            const PairList& list) {
  if (hits.bits == 0) return;
  const auto found = static_cast<unsigned long long>(__popcll(hits.bits));
  unsigned long long at = atomicAdd(list.count, found);
#pragma unroll
  for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
    for (int j = 0; j < kQueryFragments; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if ((hits.bits >> TileHits::bit(i, j, e / 2, e % 2) & 1U) == 0) continue;
        list.pairs[at++] = {static_cast<int32_t>(query0 + p.query(j, e)),
                            static_cast<int32_t>(row0 + p.row(i, e)), stored(p.acc[i][j][e])};
      }
    }
  }
}

}  // namespace idsim::cuda

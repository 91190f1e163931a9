// Which kernel lists the pairs of a scan, and how it is cut: a pure function of the shape and of what the device has.
//
// rows: few queries in shared memory, gallery codes through registers, each read once (cuda/row_scan.cuh).
// tiles: 128 x 128 tiles by mma.sync, one block each (cuda/tile.cuh).
// groups: a block of queries stays in shared memory while tiles of 128 gallery rows stream past it, multiplied by warp
// groups (cuda/tile_sm90.cuh). Blocks stay: each works through units, a unit being one block of queries and one share of
// the gallery.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/types.hpp"

namespace idsim {

enum class TileKernel { rows, tiles, groups };

struct TileShape {
  int64_t queries;
  int64_t rows;
  int64_t pitch;  // bytes of a row's codes
};

struct TileDevice {
  bool warp_groups;  // products of warp groups are there and wanted
  int multiprocessors;
  int64_t shared_bytes;  // that a block may ask for
};

struct TilePlan {
  TileKernel kernel = TileKernel::tiles;
  // Of groups:
  int block_queries = 0;  // 256, 128 or 64
  int cluster = 1;  // blocks that share the tiles of the gallery, each with queries of its own
  int stages = 0;
  int64_t shared_bytes = 0;
  int64_t query_blocks = 0;  // a multiple of `cluster`
  int64_t splits = 0;        // shares of the gallery
  int64_t blocks = 0;        // of the grid
};

inline constexpr int64_t kMostFewQueries = 128;
// Fragments of 8 queries that the kernel of few queries is compiled for.
constexpr int few_fragments(int64_t queries) {
  return queries <= 8 ? 1 : queries <= 16 ? 2 : queries <= 32 ? 4 : queries <= 64 ? 8 : 16;
}
constexpr int64_t row_scan_bytes(int64_t queries, int64_t pitch) {
  return 8 * few_fragments(queries) * pitch;
}

// Up to this many queries have two digits in the kernel of few queries (core/digits.hpp), which makes twice as many products.
// Those of 64 columns take at most about half as long as reading on every chip of docs/cuda.md; those of 128 take longer
// than reading on some, and their sums fill the registers.
inline constexpr int64_t kMostTwoDigits = 32;
// Columns that hold the first digits; as many of the second ones follow.
constexpr int64_t digit_columns(int64_t queries) { return 8 * few_fragments(queries); }
constexpr bool two_digits_fit(int64_t queries, int64_t pitch, int64_t shared_bytes) {
  return queries <= kMostTwoDigits &&
         row_scan_bytes(2 * digit_columns(queries), pitch) <= shared_bytes;
}

inline constexpr int64_t kStageBox = 128 * 128;  // 128 bytes of the codes of 128 rows or queries
inline constexpr int kMostStages = 8;
inline constexpr int kLeastStages = 4;
inline constexpr int64_t kBarrierBytes = 8 * (2 * kMostStages + 2);

constexpr int64_t k_boxes(int64_t pitch) { return (pitch + 127) / 128; }
constexpr int64_t query_bytes(int block_queries, int64_t pitch) {
  return k_boxes(pitch) * block_queries * 128;
}

// Queries of a block, such that they and enough stages fit; 0: they do not. The registers of the two multiplying warp
// groups hold the sums of 256 with a tile.
constexpr int fitting_queries(int64_t pitch, int64_t shared_bytes) {
  for (const int queries : {256, 128, 64}) {
    const int64_t taken = query_bytes(queries, pitch) + kBarrierBytes;
    if (taken + kLeastStages * kStageBox <= shared_bytes) return queries;
  }
  return 0;
}

// With 256 queries for every tile that is read, a multiprocessor at its full rate takes 16 bytes of the gallery per clock
// from the second-level cache, by calculation; with 128, 32 bytes, which is more than it is known to give. Blocks of fewer
// queries therefore share what they read, so that a cluster always has 256.
constexpr int cluster_of(int block_queries) { return 256 / block_queries; }

// Shares of the gallery that let the last blocks end together. Time is counted in tiles: every unit begins by loading its
// queries, which takes about two tiles for 256 of them, and by filling its stages.
inline int64_t planned_splits(int64_t clusters, int64_t tiles, int64_t at_once) {
  constexpr int64_t begin = 3;
  int64_t best = 1, best_time = 0;
  const int64_t most = std::min(tiles, std::max<int64_t>(4 * at_once / clusters, 1));
  for (int64_t splits = 1; splits <= most; ++splits) {
    const int64_t turns = (clusters * splits + at_once - 1) / at_once;
    const int64_t time = turns * ((tiles + splits - 1) / splits + begin);
    if (splits > 1 && time >= best_time) continue;
    best = splits;
    best_time = time;
  }
  return best;
}

// Shares and blocks, for a device that runs so many clusters at once.
inline void spread(TilePlan& plan, int64_t rows, int64_t clusters_at_once) {
  const int64_t at_once = std::max<int64_t>(clusters_at_once, 1);
  const int64_t clusters = plan.query_blocks / plan.cluster;
  plan.splits = planned_splits(clusters, (rows + 127) / 128, at_once);
  plan.blocks = std::min(clusters * plan.splits, at_once) * plan.cluster;
}

inline TilePlan plan_groups(const TileShape& shape, const TileDevice& device, int block_queries) {
  TilePlan plan;
  plan.kernel = TileKernel::groups;
  plan.block_queries = block_queries;
  plan.cluster = cluster_of(block_queries);
  const int64_t taken = query_bytes(block_queries, shape.pitch) + kBarrierBytes;
  plan.stages =
      static_cast<int>(std::min<int64_t>(kMostStages, (device.shared_bytes - taken) / kStageBox));
  plan.shared_bytes = taken + plan.stages * kStageBox;
  const int64_t in_cluster = int64_t{block_queries} * plan.cluster;
  plan.query_blocks = (shape.queries + in_cluster - 1) / in_cluster * plan.cluster;
  spread(plan, shape.rows, device.multiprocessors / plan.cluster);
  return plan;
}

// shape: at least one query and one row.
inline TilePlan plan_tiles(const TileShape& shape, const TileDevice& device) {
  TilePlan plan;
  if (shape.queries <= kMostFewQueries &&
      row_scan_bytes(shape.queries, shape.pitch) <= device.shared_bytes) {
    plan.kernel = TileKernel::rows;
    return plan;
  }
  const int block_queries = fitting_queries(shape.pitch, device.shared_bytes);
  if (!device.warp_groups || block_queries == 0) return plan;
  return plan_groups(shape, device, block_queries);
}

}  // namespace idsim

// The tile kernel of compute capability 9.0: products of warp groups (wgmma), operands brought by tensor copies (TMA).
//
// A block keeps up to 256 queries in shared memory and works through tiles of 128 gallery rows that stream past them in
// stages of 128 bytes of k. Its first warp group copies; the two others multiply, each its own queries with every tile, or
// where a block has only 64 queries, all of them with every second tile. Blocks of fewer than 256 queries form clusters,
// which copy each stage once for all (core/tile_plan.hpp).
//
// Queries are the rows of a product, so that a lane holds few queries and many gallery rows: it takes the greatest of its
// products for each query and compares once (core/tile_bound.hpp). Only where that is reached are pairs looked at one by
// one. Nothing depends on the order in which blocks run.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/tile_plan.hpp"
#include "cuda/codes.cuh"
#include "cuda/launch.cuh"
#include "cuda/ptx/barrier.cuh"
#include "cuda/ptx/cluster.cuh"
#include "cuda/ptx/registers.cuh"
#include "cuda/ptx/shared.cuh"
#include "cuda/ptx/tensor_copy.cuh"
#include "cuda/ptx/wgmma.cuh"
#include "cuda/tensor_map.hpp"
#include "cuda/tile.cuh"
#include "cuda/tile_hits.cuh"

namespace idsim::cuda {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupsThreads = 3 * kGroupThreads;
// Of the 64 Ki of a multiprocessor, 168 for each of 384 threads at the start: 128 * 56 + 256 * 224 are as many.
inline constexpr int kCopyingRegisters = 56;
inline constexpr int kMultiplyingRegisters = 224;
inline constexpr int kFragmentQueries = 64;

struct GroupScan {
  int64_t n_rows, n_queries;
  const int32_t* starts;
  int k_boxes, stages;
  int64_t query_blocks, splits, tiles;
};

template <class Codes_, int kBlockQueries_>
struct GroupsShape {
  using Codes = Codes_;
  using Sum = typename Codes::Sum;
  static constexpr int kBlockQueries = kBlockQueries_;
  static constexpr int kCluster = cluster_of(kBlockQueries);
  static constexpr int kFragments = kBlockQueries == 256 ? 2 : 1;
  static constexpr bool kAlternate = kBlockQueries == 64;
  static constexpr int kQueryBox = kBlockQueries < 128 ? kBlockQueries : 128;  // queries of a copy
  static constexpr int kRowBox = kTileRows / kCluster;                         // rows of a copy
  static constexpr int kQueryBoxBytes = kBlockQueries * kBoxBytes;  // 128 bytes of all queries
  static constexpr unsigned kStageReaders = 8 * kCluster;           // warps
};

struct GroupsMemory {
  char* queries;
  char* stages;
  ptx::Barrier *full, *empty;  // of each stage
  ptx::Barrier *queries_full, *queries_free;

  template <class Shape>
  __device__ static GroupsMemory of(const GroupScan& scan) {
    GroupsMemory out;
    out.queries = ptx::shared_memory();
    out.stages = out.queries + scan.k_boxes * Shape::kQueryBoxBytes;
    out.full = reinterpret_cast<ptx::Barrier*>(out.stages + scan.stages * kStageBox);
    out.empty = out.full + kMostStages;
    out.queries_full = out.empty + kMostStages;
    out.queries_free = out.queries_full + 1;
    return out;
  }
  template <class Shape>
  __device__ void start(const GroupScan& scan) const {
    for (int i = 0; i < scan.stages; ++i) {
      ptx::barrier_init(&full[i], 1);
      ptx::barrier_init(&empty[i], Shape::kStageReaders);
    }
    ptx::barrier_init(queries_full, 1);
    ptx::barrier_init(queries_free, 8);
    ptx::barrier_init_fence();
  }
};

// Where in the ring of stages a warp is.
struct Ring {
  int stage = 0;
  unsigned parity = 0;

  __device__ __forceinline__ void advance(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1U;
  }
};

// One block of queries and one share of the gallery. Neighbouring units share the rows.
struct Unit {
  int64_t query0, tile, last_tile;
};
template <class Shape>
__device__ Unit unit_of(const GroupScan& scan, int64_t i) {
  const int64_t clusters = scan.query_blocks / Shape::kCluster;
  const int64_t block = i % clusters * Shape::kCluster + ptx::cluster_rank();
  const int64_t split = i / clusters;
  return {block * Shape::kBlockQueries, split * scan.tiles / scan.splits,
          (split + 1) * scan.tiles / scan.splits};
}
template <class Shape, class Work>
__device__ void for_units(const GroupScan& scan, const Work& work) {
  const int64_t units = scan.query_blocks / Shape::kCluster * scan.splits;
  const int64_t step = gridDim.x / Shape::kCluster;
  for (int64_t i = blockIdx.x / Shape::kCluster; i < units; i += step) {
    work(unit_of<Shape>(scan, i));
  }
}

// --- Copying, by one thread ---

template <class Shape>
__device__ void copy_stage(const CUtensorMap* rows, int64_t tile, int box, char* stage,
                           ptx::Barrier* full) {
  const int x = box * kBoxBytes;
  const int y = static_cast<int>(tile * kTileRows);
  ptx::barrier_expect(full, static_cast<unsigned>(kStageBox));
  if constexpr (Shape::kCluster == 1) {
    ptx::copy_box(stage, rows, x, y, full);
  } else {
    const int row = static_cast<int>(ptx::cluster_rank()) * Shape::kRowBox;
    constexpr uint16_t everyone = (1U << Shape::kCluster) - 1U;
    ptx::copy_box_to(stage + row * kBoxBytes, rows, x, y + row, full, everyone);
  }
}

template <class Shape>
__device__ void copy_all(const CUtensorMap* queries, const CUtensorMap* rows, const GroupScan& scan,
                         const GroupsMemory& memory) {
  Ring ring;
  unsigned parity = 0;
  for_units<Shape>(scan, [&](const Unit& unit) {
    ptx::barrier_wait(memory.queries_free, parity ^ 1U);
    ptx::barrier_expect(memory.queries_full,
                        static_cast<unsigned>(scan.k_boxes * Shape::kQueryBoxBytes));
    for (int box = 0; box < scan.k_boxes; ++box) {
      for (int q = 0; q < Shape::kBlockQueries; q += Shape::kQueryBox) {
        ptx::copy_box(memory.queries + box * Shape::kQueryBoxBytes + q * kBoxBytes, queries,
                      box * kBoxBytes, static_cast<int>(unit.query0) + q, memory.queries_full);
      }
    }
    parity ^= 1U;
    for (int64_t tile = unit.tile; tile < unit.last_tile; ++tile) {
      for (int box = 0; box < scan.k_boxes; ++box) {
        ptx::barrier_wait(&memory.empty[ring.stage], ring.parity ^ 1U);
        copy_stage<Shape>(rows, tile, box, memory.stages + ring.stage * kStageBox,
                          &memory.full[ring.stage]);
        ring.advance(scan.stages);
      }
    }
  });
}

// --- Multiplying ---

template <class Shape>
__device__ __forceinline__ void release(ptx::Barrier* empty, int lane) {
  if constexpr (Shape::kCluster == 1) {
    if (lane == 0) ptx::barrier_arrive(empty);
  } else {
    if (lane < Shape::kCluster) ptx::barrier_arrive_at(empty, static_cast<unsigned>(lane));
  }
}

// A tile's products, all but the last box of k done. Returns the stage that is still being read.
template <class Shape>
__device__ __forceinline__ int multiply_tile(typename Shape::Sum (&acc)[Shape::kFragments][64],
                                             uint64_t queries, const GroupScan& scan,
                                             const GroupsMemory& memory, Ring& ring, int lane) {
  constexpr int kSteps = 4;  // of 32 bytes of k
  int reading = 0;
#pragma unroll 1
  for (int box = 0; box < scan.k_boxes; ++box) {
    ptx::barrier_wait(&memory.full[ring.stage], ring.parity);
    const uint64_t rows = ptx::operand(memory.stages + ring.stage * kStageBox);
    const uint64_t from = queries + static_cast<uint64_t>(box) * (Shape::kQueryBoxBytes / 16);
    ptx::wgmma_begin();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int f = 0; f < Shape::kFragments; ++f) {
        ptx::wgmma(acc[f], from + f * (kFragmentQueries * kBoxBytes / 16) + step * ptx::kNextK,
                   rows + step * ptx::kNextK, box > 0 || step > 0);
      }
    }
    ptx::wgmma_commit();
    if (box > 0) {
      ptx::wgmma_wait<1>();
      release<Shape>(&memory.empty[reading], lane);
    }
    reading = ring.stage;
    ring.advance(scan.stages);
  }
  return reading;
}

// A tile of the other group. A warp sees every phase of every stage: from a barrier it cannot tell one phase from the
// next but one.
template <class Shape>
__device__ __forceinline__ void skip_tile(const GroupScan& scan, const GroupsMemory& memory,
                                          Ring& ring, int lane) {
  for (int box = 0; box < scan.k_boxes; ++box) {
    ptx::barrier_wait(&memory.full[ring.stage], ring.parity);
    release<Shape>(&memory.empty[ring.stage], lane);
    ring.advance(scan.stages);
  }
}

template <class Shape, class Lister>
__device__ void multiply_all(const GroupScan& scan, const GroupsMemory& memory,
                             const Lister& lister) {
  using Codes = typename Shape::Codes;
  using Sum = typename Shape::Sum;
  constexpr int kQueries = 2 * Shape::kFragments;  // of a lane
  // Shared by a warp, and known to be.
  const int warp = __shfl_sync(~0U, static_cast<int>(threadIdx.x) / 32 - kGroupThreads / 32, 0);
  const int group = warp / 4, lane = static_cast<int>(threadIdx.x) % 32;
  const int first = Shape::kAlternate ? 0 : group * kFragmentQueries * Shape::kFragments;
  const uint64_t queries = ptx::operand(memory.queries + first * kBoxBytes);
  Sum acc[Shape::kFragments][64];
  Ring ring;
  unsigned parity = 0;
  for_units<Shape>(scan, [&](const Unit& unit) {
    HeldQuery<Sum> held[kQueries];
#pragma unroll
    for (int i = 0; i < kQueries; ++i) {
      const int64_t query =
          unit.query0 + first + i / 2 * kFragmentQueries + warp % 4 * 16 + lane / 4 + i % 2 * 8;
      held[i] = held_query<Codes>(query, scan.n_queries, scan.starts, lister);
    }
    ptx::barrier_wait(memory.queries_full, parity);
    parity ^= 1U;
    for (int64_t tile = unit.tile; tile < unit.last_tile; ++tile) {
      if (Shape::kAlternate && (tile - unit.tile) % 2 != group) {
        skip_tile<Shape>(scan, memory, ring, lane);
        continue;
      }
      const int64_t row0 = tile * kTileRows;
      HeldTerms rows;
      rows.load(lister, row0, scan.n_rows, lane);
      const int reading = multiply_tile<Shape>(acc, queries, scan, memory, ring, lane);
      const TileTerms terms = rows.reduced();
      ptx::wgmma_wait<0>();
      release<Shape>(&memory.empty[reading], lane);
#pragma unroll
      for (int f = 0; f < Shape::kFragments; ++f) {
        ptx::hold(acc[f]);
        list_reached<Codes>(acc[f], 0, held[2 * f], terms, row0, scan.n_rows, lister, lane);
        list_reached<Codes>(acc[f], 1, held[2 * f + 1], terms, row0, scan.n_rows, lister, lane);
      }
      __syncwarp();
    }
    if (lane == 0) ptx::barrier_arrive(memory.queries_free);
  });
}

// lister: query_terms(query), row_terms(row), keep(query, row, dot); queries below scan.n_queries.
template <class Codes, int kBlockQueries, class Lister>
__global__ __launch_bounds__(kGroupsThreads,
                             1) void scan_groups(const __grid_constant__ CUtensorMap queries,
                                                 const __grid_constant__ CUtensorMap rows,
                                                 GroupScan scan, Lister lister) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shape = GroupsShape<Codes, kBlockQueries>;
  const GroupsMemory memory = GroupsMemory::of<Shape>(scan);
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&queries);
    ptx::prefetch_map(&rows);
    memory.start<Shape>(scan);
  }
  // No block of a cluster may signal the barriers of another before they are there, or after it has ended.
  Shape::kCluster > 1 ? ptx::cluster_sync() : __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    ptx::give_registers<kCopyingRegisters>();
    if (threadIdx.x == 0) copy_all<Shape>(&queries, &rows, scan, memory);
  } else {
    ptx::take_registers<kMultiplyingRegisters>();
    multiply_all<Shape>(scan, memory, lister);
  }
  if constexpr (Shape::kCluster > 1) {
    __syncwarp();
    ptx::cluster_sync();
  }
#endif
}

template <class Codes, int kBlockQueries, class Lister>
void launch_groups_of(const char* doing, const TileScan& tiles, TilePlan plan, const Lister& lister,
                      cudaStream_t stream) {
  using Shape = GroupsShape<Codes, kBlockQueries>;
  const auto kernel = scan_groups<Codes, kBlockQueries, Lister>;
  const auto shared = static_cast<size_t>(plan.shared_bytes);
  // How clusters fit depends on how many multiprocessors of each part of the chip are in use.
  if (Shape::kCluster > 1) {
    spread(plan, tiles.n_rows, resident_clusters(kernel, Shape::kCluster, kGroupsThreads, shared));
  }
  const int64_t n_queries = tiles.query_tiles * kTileQueries;
  const GroupScan scan{
      tiles.n_rows, n_queries,         tiles.starts, static_cast<int>(k_boxes(tiles.pitch)),
      plan.stages,  plan.query_blocks, plan.splits,  (tiles.n_rows + kTileRows - 1) / kTileRows};
  const CUtensorMap queries = map_of_codes(tiles.queries, n_queries, tiles.pitch, Shape::kQueryBox);
  const CUtensorMap rows = map_of_codes(tiles.codes, tiles.n_rows, tiles.pitch, Shape::kRowBox);
  launch_clusters(doing, kernel, blocks_for(plan.blocks, 1), Shape::kCluster, kGroupsThreads,
                  shared, stream, queries, rows, scan, lister);
}

// plan_tiles chose TileKernel::groups.
template <class Codes, class Lister>
void launch_groups(const char* doing, const TileScan& tiles, const TilePlan& plan,
                   const Lister& lister, cudaStream_t stream) {
  switch (plan.block_queries) {
    case 256:
      return launch_groups_of<Codes, 256>(doing, tiles, plan, lister, stream);
    case 128:
      return launch_groups_of<Codes, 128>(doing, tiles, plan, lister, stream);
    default:
      return launch_groups_of<Codes, 64>(doing, tiles, plan, lister, stream);
  }
}

}  // namespace idsim::cuda

// Runs CUDA kernels on the CPU, one fiber per thread, so that a machine without a GPU proves their logic: index
// arithmetic, fragment maps, barriers, shuffles, atomics, bounds, asynchronous copies and products. Blocks run one after
// another, those of a cluster together. It shows neither speed nor what depends on real concurrency of clusters.
//
// A launch fails (cudaErrorLaunchFailure, with the reason on stderr) where threads wait for each other in vain or meet in
// different collectives. Device memory and shared memory start as garbage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace emulator {

inline constexpr int kMultiprocessors = 4;

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

struct Place {
  Index thread, block;
  Index block_dim{1, 1, 1}, grid_dim{1, 1, 1};
};
// Where the running thread stands.
inline Place current;

// The block's dynamic shared memory, aligned to 1024 bytes.
char* shared_memory();

void block_barrier();

// Of the running thread's block in its cluster.
unsigned cluster_rank();
// All threads of the cluster that have not ended.
void cluster_barrier();

// All lanes of `mask` in the caller's warp meet; the last to come runs `op` with their arguments, indexed by lane (null
// for lanes outside the mask). `kind` tells collectives apart.
enum Kind { kSync, kShuffle, kBallot, kMma, kWgmmaBegin, kWgmma, kWgmmaCommit, kWgmmaWait };
using WarpOp = void (*)(void** arguments, unsigned mask);
void warp_collective(unsigned mask, int kind, WarpOp op, void* argument);

// Copies from global to shared memory that take effect as late as they may: when the thread waits for their group.
void async_copy(void* to, const void* from, int bytes, int zero_bytes);
void async_commit();
void async_wait(int groups_left);

// Who runs next where several threads could. `in_turn`: every thread in turn. `first`, `last`: always the lowest or the
// highest warp that can go on, so that warps come as far apart as barriers let them; a missing barrier shows.
enum class Schedule { in_turn, first, last };
inline Schedule schedule = Schedule::in_turn;

struct Launch {
  Index grid, block, cluster;
  size_t shared_bytes;
};
// Whether the grid can be cut into its clusters, of at most 8 blocks.
bool is_whole(const Launch& launch);
// Runs all blocks of a grid. Returns false, with the reason on stderr, where a block cannot finish.
bool run_grid(const Launch& launch, const std::function<void()>& thread);
// The reason that it gave last.
inline std::string last_failure;

}  // namespace emulator

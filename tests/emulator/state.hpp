// What the emulator's parts know of the blocks that run: the scheduler (emulator.cpp), what is asynchronous (async.cpp)
// and the products of warp groups (warp_group.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "box_map.hpp"
#include "emulator.hpp"
#include "fiber.hpp"
#include "warp_group.hpp"

namespace emulator {

constexpr int kWarp = 32;
constexpr int kWarpGroup = 4 * kWarp;

struct Copy {
  void* to;
  const void* from;
  int bytes;
  int zero_bytes;
};

// Products that were committed together, and what they make of the accumulators, once that is known.
struct ProductGroup {
  struct Sums {
    void* d;
    std::array<uint32_t, 64> bits;
  };
  std::vector<Product> products;
  bool known = false;
  std::vector<Sums> sums;
};

struct Block;

struct Thread {
  Fiber fiber;
  Place place;
  Block* block = nullptr;
  bool ready = true;
  bool done = false;
  char waits_for[128] = "";
  const void* waits_at = nullptr;        // a barrier, or a mark of one kind of wait
  std::vector<Copy> open;                // async copies not yet committed
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Product> open_products;
  std::deque<ProductGroup> product_groups;  // committed and not waited for, oldest first
  int64_t committed = 0;                    // product groups, ever
};

// Lanes that have met in one collective so far.
struct Meeting {
  unsigned mask = 0;
  unsigned arrived = 0;
  int kind = 0;
  WarpOp op = nullptr;
  void* arguments[kWarp] = {};
};

struct Warp {
  std::vector<Meeting> meetings;
};

struct BarrierState {
  int64_t expected;  // arrivals per phase
  int64_t arrivals;  // still to come in this phase
  int64_t bytes;     // still to come; negative while more came than was expected so far
  unsigned phase;
};

struct FreeMemory {
  void operator()(char* memory) const { std::free(memory); }
};

struct Block {
  unsigned rank = 0;  // in the cluster
  Index at;           // in the grid
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Warp> warps;
  std::unique_ptr<char[], FreeMemory> shared;
  size_t shared_bytes = 0;
  std::map<size_t, BarrierState> barriers;  // by their place in shared memory
  int live = 0;
  int at_barrier = 0;
};

// A tensor copy that is under way to one block.
struct TensorCopy {
  BoxMap map;
  int x, y;
  Block* to;
  size_t place, barrier;  // in its shared memory
};

struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;
  std::deque<TensorCopy> copies;  // oldest first
  int live = 0;
  int at_barrier = 0;
  std::string failure;
  Index failed_at;
};

inline Cluster* cluster = nullptr;
inline Thread* running = nullptr;

inline int flat(const Place& p) {
  return static_cast<int>(p.thread.x + p.block_dim.x * (p.thread.y + p.block_dim.y * p.thread.z));
}

// Leaves the running thread until it is woken. `reason` is its formatted waits_for.
[[gnu::format(printf, 1, 2)]] void pause(const char* reason, ...);
inline void wake(Thread& thread) { thread.ready = true; }

// The first failure is the launch's.
[[gnu::format(printf, 2, 3)]] void note_failure(const Block& at, const char* reason, ...);
// Ends the launch. Never returns, so nothing on the caller's stack is destroyed.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* reason, ...);
// Where the launch has failed, the running thread does not go on.
void stop_if_failed();

// Where a pointer points in the running block's shared memory; fails where it points elsewhere.
size_t place_in_shared(const void* p, size_t bytes);

// Lets the copy that is finished next take effect. There is one.
void finish_a_copy();
// Notes what must not be left over when all threads of the cluster have ended.
void check_all_came();

}  // namespace emulator

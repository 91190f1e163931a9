#include "emulator.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "state.hpp"

namespace emulator {
namespace {

Fiber scheduler;
const std::function<void()>* body = nullptr;

void release_cluster() {
  cluster->at_barrier = 0;
  for (auto& block : cluster->blocks) {
    for (auto& thread : block->threads) {
      if (thread->waits_at == &cluster->at_barrier) wake(*thread);
    }
  }
}

void run_thread() {
  (*body)();
  running->done = true;
  --running->block->live;
  --cluster->live;
  if (cluster->at_barrier > 0 && cluster->at_barrier == cluster->live) release_cluster();
  for (;;) switch_fiber(running->fiber, scheduler);
}

std::unique_ptr<Block> make_block(const Launch& launch, unsigned rank) {
  auto block = std::make_unique<Block>();
  const unsigned count = launch.block.x * launch.block.y * launch.block.z;
  for (unsigned i = 0; i < count; ++i) {
    block->threads.push_back(std::make_unique<Thread>());
    block->threads.back()->block = block.get();
  }
  block->warps.resize(count / kWarp);
  block->rank = rank;
  void* shared = nullptr;
  if (posix_memalign(&shared, 1024, std::max<size_t>(launch.shared_bytes, 1)) != 0) {
    throw std::bad_alloc();
  }
  block->shared.reset(static_cast<char*>(shared));
  block->shared_bytes = launch.shared_bytes;
  return block;
}

void set_up(Block& b, const Launch& launch, const Index& at) {
  b.at = at;
  b.live = static_cast<int>(b.threads.size());
  b.at_barrier = 0;
  b.barriers.clear();
  std::memset(b.shared.get(), 0xCD, b.shared_bytes);
  for (Warp& warp : b.warps) warp.meetings.clear();
  const Index& dim = launch.block;
  unsigned i = 0;
  for (auto& thread : b.threads) {
    thread->place = {{i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y}, at, dim, launch.grid};
    thread->ready = true;
    thread->done = false;
    thread->waits_at = nullptr;
    thread->open.clear();
    thread->groups.clear();
    thread->open_products.clear();
    thread->product_groups.clear();
    thread->committed = 0;
    start_fiber(thread->fiber, run_thread);
    ++i;
  }
}

// What a thread waits for; of a barrier also what it lacks by now.
std::string reason_of(const Thread& thread) {
  std::string text = std::string(" for ") + thread.waits_for;
  for (const auto& [place, barrier] : thread.block->barriers) {
    if (thread.waits_at != &barrier) continue;
    text += " (" + std::to_string(barrier.arrivals) + " arrivals and " +
            std::to_string(barrier.bytes) + " bytes are to come)";
  }
  return text;
}

// Every reason that threads wait for, with the first thread that does and the number of those that do so as well.
void describe_deadlock() {
  struct Reason {
    const Block* block;
    std::string text;
    int others;
  };
  std::vector<Reason> reasons;
  const Block* first = nullptr;
  for (const auto& block : cluster->blocks) {
    for (const auto& thread : block->threads) {
      if (thread->done) continue;
      if (first == nullptr) first = block.get();
      const std::string suffix = reason_of(*thread);
      const auto same = std::find_if(reasons.begin(), reasons.end(), [&](const Reason& reason) {
        return reason.block == block.get() && reason.text.ends_with(suffix);
      });
      if (same != reasons.end()) {
        ++same->others;
        continue;
      }
      std::string text = " thread " + std::to_string(flat(thread->place));
      if (block.get() != first) text += " of the cluster's block " + std::to_string(block->rank);
      reasons.push_back({block.get(), text + suffix, 0});
    }
  }
  std::string text = "threads wait in vain:";
  for (const Reason& reason : reasons) {
    text += reason.text;
    if (reason.others > 0) text += ", like " + std::to_string(reason.others) + " others";
    text += ";";
  }
  note_failure(*first, "%s", text.c_str());
}

// Runs the threads of a warp that can go on; returns whether there was one.
bool run_warp(Block& b, size_t warp) {
  bool moved = false;
  for (size_t lane = 0; lane < kWarp && cluster->failure.empty(); ++lane) {
    Thread& thread = *b.threads[warp * kWarp + lane];
    if (thread.done || !thread.ready) continue;
    moved = true;
    running = &thread;
    current = thread.place;
    switch_fiber(scheduler, thread.fiber);
  }
  return moved;
}

// The threads that can go on, of every warp or of the one whose turn it is. False where there are none.
bool run_some() {
  const size_t warps = cluster->blocks[0]->warps.size();
  const size_t all = cluster->blocks.size() * warps;
  bool moved = false;
  for (size_t i = 0; i < all; ++i) {
    const size_t warp = schedule == Schedule::last ? all - 1 - i : i;
    moved |= run_warp(*cluster->blocks[warp / warps], warp % warps);
    if (moved && schedule != Schedule::in_turn) break;
  }
  return moved;
}

bool run_cluster(const Launch& launch, const Index& first) {
  cluster->copies.clear();
  cluster->at_barrier = 0;
  cluster->live = 0;
  for (auto& block : cluster->blocks) {
    const Index& dim = launch.cluster;
    const unsigned rank = block->rank;
    set_up(
        *block, launch,
        {first.x + rank % dim.x, first.y + rank / dim.x % dim.y, first.z + rank / dim.x / dim.y});
    cluster->live += block->live;
  }
  while (cluster->live > 0 && cluster->failure.empty()) {
    if (run_some()) continue;
    if (cluster->copies.empty()) {
      describe_deadlock();
    } else {
      finish_a_copy();
    }
  }
  if (cluster->failure.empty()) check_all_came();
  return cluster->failure.empty();
}

}  // namespace

void pause(const char* reason, ...) {
  std::va_list arguments;
  va_start(arguments, reason);
  std::vsnprintf(running->waits_for, sizeof running->waits_for, reason, arguments);
  va_end(arguments);
  running->ready = false;
  switch_fiber(running->fiber, scheduler);
}

void note_failure(const Block& at, const char* reason, ...) {
  if (!cluster->failure.empty()) return;
  static char text[4096];
  std::va_list arguments;
  va_start(arguments, reason);
  std::vsnprintf(text, sizeof text, reason, arguments);
  va_end(arguments);
  cluster->failure = text;
  cluster->failed_at = at.at;
}

void fail(const char* reason, ...) {
  char text[512];
  std::va_list arguments;
  va_start(arguments, reason);
  std::vsnprintf(text, sizeof text, reason, arguments);
  va_end(arguments);
  note_failure(*running->block, "%s", text);
  for (;;) pause("nothing: the launch failed");
}

void stop_if_failed() {
  while (!cluster->failure.empty()) pause("nothing: the launch failed");
}

char* shared_memory() { return running->block->shared.get(); }

size_t place_in_shared(const void* p, size_t bytes) {
  const Block& b = *running->block;
  const size_t place = reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(b.shared.get());
  if (place > b.shared_bytes || bytes > b.shared_bytes - place) {
    fail("an address that is not in the block's shared memory is used as one");
  }
  return place;
}

void block_barrier() {
  Block& b = *running->block;
  if (++b.at_barrier == static_cast<int>(b.threads.size())) {
    b.at_barrier = 0;
    for (auto& thread : b.threads) wake(*thread);
    return;
  }
  pause("the block's barrier");
}

unsigned cluster_rank() { return running->block->rank; }

void cluster_barrier() {
  if (++cluster->at_barrier == cluster->live) return release_cluster();
  running->waits_at = &cluster->at_barrier;
  pause("the cluster's barrier");
  running->waits_at = nullptr;
}

void warp_collective(unsigned mask, int kind, WarpOp op, void* argument) {
  const int number = flat(running->place);
  const int lane = number % kWarp;
  Block& b = *running->block;
  Warp& warp = b.warps[static_cast<size_t>(number / kWarp)];
  if ((mask >> lane & 1U) == 0) fail("a lane is not in the mask of its own collective");
  Meeting* meeting = nullptr;
  for (Meeting& open : warp.meetings) {
    if ((open.mask & mask) == 0) continue;
    if (open.mask != mask || open.kind != kind)
      fail("lanes of a warp meet in different collectives");
    meeting = &open;
  }
  if (meeting == nullptr) {
    warp.meetings.push_back({});
    meeting = &warp.meetings.back();
    meeting->mask = mask;
    meeting->kind = kind;
    meeting->op = op;
  }
  meeting->arrived |= 1U << lane;
  meeting->arguments[lane] = argument;
  if (meeting->arrived != mask) return pause("the lanes of its warp");
  Meeting complete = *meeting;
  warp.meetings.erase(warp.meetings.begin() + (meeting - warp.meetings.data()));
  op(complete.arguments, mask);
  for (int other = 0; other < kWarp; ++other) {
    if ((mask >> other & 1U) != 0) wake(*b.threads[static_cast<size_t>(number - lane + other)]);
  }
}

bool is_whole(const Launch& launch) {
  const Index& size = launch.cluster;
  const unsigned blocks = size.x * size.y * size.z;
  return blocks >= 1 && blocks <= 8 && launch.grid.x % size.x == 0 && launch.grid.y % size.y == 0 &&
         launch.grid.z % size.z == 0;
}

bool run_grid(const Launch& launch, const std::function<void()>& thread) {
  static std::mutex one_grid_at_a_time;
  const std::lock_guard lock(one_grid_at_a_time);
  const unsigned count = launch.block.x * launch.block.y * launch.block.z;
  if (count == 0 || count > 1024 || count % kWarp != 0) {
    std::fprintf(stderr, "emulator: a block of %u threads\n", count);
    return false;
  }
  Cluster c;
  const Index& size = launch.cluster;
  for (unsigned rank = 0; rank < size.x * size.y * size.z; ++rank) {
    c.blocks.push_back(make_block(launch, rank));
  }
  cluster = &c;
  body = &thread;
  bool done = true;
  for (unsigned z = 0; z < launch.grid.z && done; z += size.z) {
    for (unsigned y = 0; y < launch.grid.y && done; y += size.y) {
      for (unsigned x = 0; x < launch.grid.x && done; x += size.x) {
        done = run_cluster(launch, {x, y, z});
      }
    }
  }
  if (!done) {
    last_failure = c.failure;
    std::fprintf(stderr, "emulator: block (%u, %u, %u): %s\n", c.failed_at.x, c.failed_at.y,
                 c.failed_at.z, c.failure.c_str());
  }
  cluster = nullptr;
  return done;
}

}  // namespace emulator

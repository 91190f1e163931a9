#include "emulator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fiber.hpp"

namespace emulator {
namespace {

constexpr int kWarp = 32;

struct Copy {
  void* to;
  const void* from;
  int bytes;
  int zero_bytes;
};

struct Thread {
  Fiber fiber;
  Place place;
  bool ready = true;
  bool done = false;
  const char* waits_for = "";
  std::vector<Copy> open;                // async copies not yet committed
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
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

struct Block {
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Warp> warps;
  std::vector<char> shared;
  int live = 0;
  int at_barrier = 0;
  std::string failure;
};

Block* block = nullptr;
Thread* running = nullptr;
Fiber scheduler;
const std::function<void()>* body = nullptr;

void pause(const char* reason) {
  running->ready = false;
  running->waits_for = reason;
  switch_fiber(running->fiber, scheduler);
}

void wake(Thread& thread) { thread.ready = true; }

// Never returns, so nothing on the caller's stack is destroyed.
[[noreturn]] void fail(const char* reason) {
  if (block->failure.empty()) block->failure = reason;
  for (;;) pause("nothing: the launch failed");
}

int flat(const Place& p) {
  return static_cast<int>(p.thread.x + p.block_dim.x * (p.thread.y + p.block_dim.y * p.thread.z));
}

void run_thread() {
  (*body)();
  running->done = true;
  --block->live;
  for (;;) switch_fiber(running->fiber, scheduler);
}

void finish_copies(Thread& thread, size_t left) {
  while (thread.groups.size() > left) {
    for (const Copy& copy : thread.groups.front()) {
      std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
      std::memset(static_cast<char*>(copy.to) + copy.bytes, 0,
                  static_cast<size_t>(copy.zero_bytes));
    }
    thread.groups.pop_front();
  }
}

void set_up(Block& b, const Index& grid, const Index& at, const Index& dim) {
  b.live = static_cast<int>(b.threads.size());
  b.at_barrier = 0;
  std::fill(b.shared.begin(), b.shared.end(), static_cast<char>(0xCD));
  for (Warp& warp : b.warps) warp.meetings.clear();
  unsigned i = 0;
  for (auto& thread : b.threads) {
    thread->place = {{i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y}, at, dim, grid};
    thread->ready = true;
    thread->done = false;
    thread->open.clear();
    thread->groups.clear();
    start_fiber(thread->fiber, run_thread);
    ++i;
  }
}

void describe_deadlock(Block& b) {
  std::string text = "threads wait in vain:";
  int shown = 0;
  for (const auto& thread : b.threads) {
    if (thread->done || ++shown > 4) continue;
    text += " thread " + std::to_string(flat(thread->place)) + " for " + thread->waits_for + ";";
  }
  if (b.failure.empty()) b.failure = text;
}

// Runs the threads of a warp that can go on; returns whether there was one.
bool run_warp(Block& b, size_t warp) {
  bool moved = false;
  for (size_t lane = 0; lane < kWarp && b.failure.empty(); ++lane) {
    Thread& thread = *b.threads[warp * kWarp + lane];
    if (thread.done || !thread.ready) continue;
    moved = true;
    running = &thread;
    current = thread.place;
    switch_fiber(scheduler, thread.fiber);
  }
  return moved;
}

bool run_block(Block& b) {
  const size_t warps = b.warps.size();
  while (b.live > 0 && b.failure.empty()) {
    bool moved = false;
    for (size_t i = 0; i < warps; ++i) {
      const size_t warp = schedule == Schedule::last ? warps - 1 - i : i;
      moved |= run_warp(b, warp);
      if (moved && schedule != Schedule::in_turn) break;
    }
    if (!moved) describe_deadlock(b);
  }
  return b.failure.empty();
}

}  // namespace

char* shared_memory() { return block->shared.data(); }

void block_barrier() {
  if (++block->at_barrier == static_cast<int>(block->threads.size())) {
    block->at_barrier = 0;
    for (auto& thread : block->threads) wake(*thread);
    return;
  }
  pause("the block's barrier");
}

void warp_collective(unsigned mask, int kind, WarpOp op, void* argument) {
  const int number = flat(running->place);
  const int lane = number % kWarp;
  Warp& warp = block->warps[static_cast<size_t>(number / kWarp)];
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
    if ((mask >> other & 1U) != 0)
      wake(*block->threads[static_cast<size_t>(number - lane + other)]);
  }
}

void async_copy(void* to, const void* from, int bytes, int zero_bytes) {
  running->open.push_back({to, from, bytes, zero_bytes});
}

void async_commit() {
  running->groups.push_back(std::move(running->open));
  running->open.clear();
}

void async_wait(int groups_left) { finish_copies(*running, static_cast<size_t>(groups_left)); }

bool run_grid(const Index& grid, const Index& dim, size_t shared_bytes,
              const std::function<void()>& thread) {
  static std::mutex one_grid_at_a_time;
  const std::lock_guard lock(one_grid_at_a_time);
  const unsigned count = dim.x * dim.y * dim.z;
  if (count == 0 || count > 1024 || count % kWarp != 0) {
    std::fprintf(stderr, "emulator: a block of %u threads\n", count);
    return false;
  }
  Block b;
  for (unsigned i = 0; i < count; ++i) b.threads.push_back(std::make_unique<Thread>());
  b.warps.resize(count / kWarp);
  b.shared.resize(shared_bytes);
  block = &b;
  body = &thread;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        set_up(b, grid, {x, y, z}, dim);
        if (run_block(b)) continue;
        std::fprintf(stderr, "emulator: block (%u, %u, %u): %s\n", x, y, z, b.failure.c_str());
        block = nullptr;
        return false;
      }
    }
  }
  block = nullptr;
  return true;
}

}  // namespace emulator

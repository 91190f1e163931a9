#include "async.hpp"

#include <cstring>
#include <utility>

#include "state.hpp"

namespace emulator {
namespace {

// --- Barriers ---

BarrierState* find_barrier(Block& b, size_t place) {
  const auto found = b.barriers.find(place);
  if (found == b.barriers.end()) {
    note_failure(b, "the barrier at byte %zu of shared memory was not initialised", place);
    return nullptr;
  }
  return &found->second;
}

// Ends the phase where nothing is still to come.
void settle(Block& b, size_t place, BarrierState& barrier) {
  if (barrier.arrivals > 0) return;
  if (barrier.arrivals < 0) {
    return note_failure(b, "the barrier at byte %zu has more arrivals than its %lld", place,
                        static_cast<long long>(barrier.expected));
  }
  if (barrier.bytes < 0) {
    return note_failure(b, "the barrier at byte %zu got %lld bytes more than it expects", place,
                        static_cast<long long>(-barrier.bytes));
  }
  if (barrier.bytes > 0) return;
  barrier.arrivals = barrier.expected;
  ++barrier.phase;
  for (auto& thread : b.threads) {
    if (thread->waits_at == &barrier) wake(*thread);
  }
}

// One that other blocks signal too.
BarrierState* find_target(Block& b, size_t place) {
  BarrierState* barrier = find_barrier(b, place);
  if (b.live > 0 || barrier == nullptr) return barrier;
  note_failure(b, "the barrier at byte %zu is signalled after its block has ended", place);
  return nullptr;
}

// `expected`: bytes to wait for. `came`: bytes that a copy brought.
void signal(Block& b, size_t place, int arrivals, int64_t expected, int64_t came) {
  BarrierState* barrier = find_target(b, place);
  if (barrier == nullptr) return;
  barrier->arrivals -= arrivals;
  barrier->bytes += expected - came;
  settle(b, place, *barrier);
}

size_t place_of_barrier(const void* barrier) {
  const size_t place = place_in_shared(barrier, 8);
  if (place % 8 != 0) fail("a barrier at byte %zu of shared memory, not a multiple of 8", place);
  return place;
}

// --- Tensor copies ---

void take_effect(const TensorCopy& copy) {
  const BoxMap& map = copy.map;
  Block& b = *copy.to;
  const size_t end = copy.place + map.box_bytes();
  const auto overwritten = b.barriers.lower_bound(copy.place);
  if (overwritten != b.barriers.end() && overwritten->first < end) {
    return note_failure(b, "a tensor copy to byte %zu overwrites the barrier at byte %zu",
                        copy.place, overwritten->first);
  }
  if (find_target(b, copy.barrier) == nullptr) return;
  const int64_t first_byte = int64_t{copy.x} * map.element_bytes;
  for (uint32_t row = 0; row < map.box_rows; ++row) {
    const int64_t y = int64_t{copy.y} + row;
    const bool is_row = y >= 0 && y < static_cast<int64_t>(map.rows);
    for (uint32_t byte = 0; byte < map.box_row_bytes; ++byte) {
      const int64_t x = first_byte + byte;
      const bool is = is_row && x >= 0 && x < static_cast<int64_t>(map.row_bytes);
      size_t to = copy.place + size_t{row} * map.box_row_bytes + byte;
      if (map.swizzled) to ^= (to >> 7 & 7) << 4;
      b.shared[to] = is ? map.address[static_cast<uint64_t>(y) * map.stride + x] : char{0};
    }
  }
  signal(b, copy.barrier, 0, 0, map.box_bytes());
}

}  // namespace

void barrier_init(void* barrier, unsigned arrivals) {
  const size_t place = place_of_barrier(barrier);
  if (arrivals == 0 || arrivals >= 1U << 20) fail("a barrier of %u arrivals", arrivals);
  const BarrierState fresh{arrivals, arrivals, 0, 0};
  if (!running->block->barriers.emplace(place, fresh).second) {
    fail("the barrier at byte %zu is initialised twice", place);
  }
}

void barrier_arrive(void* barrier, unsigned bytes) {
  signal(*running->block, place_of_barrier(barrier), 1, bytes, 0);
  stop_if_failed();
}

void barrier_arrive_at(void* barrier, unsigned cta) {
  const size_t place = place_of_barrier(barrier);
  if (cta >= cluster->blocks.size()) fail("an arrival at block %u, beyond the cluster", cta);
  signal(*cluster->blocks[cta], place, 1, 0, 0);
  stop_if_failed();
}

void barrier_wait(void* barrier, unsigned parity) {
  const size_t place = place_of_barrier(barrier);
  const BarrierState* state = find_barrier(*running->block, place);
  stop_if_failed();
  while (state->phase % 2 == parity % 2) {
    running->waits_at = state;
    pause("the phase of parity %u of the barrier at byte %zu", parity % 2, place);
    running->waits_at = nullptr;
  }
}

void tensor_copy(void* shared, const CUtensorMap& map, int x, int y, void* barrier, unsigned ctas) {
  BoxMap box;
  if (!read_map(map, &box))
    fail("a tensor copy with a map that cuTensorMapEncodeTiled did not make");
  const size_t place = place_in_shared(shared, box.box_bytes());
  const size_t unit = box.swizzled ? 1024 : 128;
  if (place % unit != 0) {
    fail("a tensor copy to byte %zu of shared memory, not a multiple of %zu", place, unit);
  }
  const size_t at = place_of_barrier(barrier);
  if (ctas == 0 || ctas >> cluster->blocks.size() != 0) {
    fail("a tensor copy to blocks %#x, beyond the cluster", ctas);
  }
  for (auto& block : cluster->blocks) {
    if ((ctas >> block->rank & 1U) == 0) continue;
    if (find_target(*block, at) == nullptr) break;  // the copy may take effect from now on
    cluster->copies.push_back({box, x, y, block.get(), place, at});
    if (schedule == Schedule::in_turn) finish_a_copy();
  }
  stop_if_failed();
}

void finish_a_copy() {
  auto& copies = cluster->copies;
  const TensorCopy copy = schedule == Schedule::last ? copies.back() : copies.front();
  if (schedule == Schedule::last) {
    copies.pop_back();
  } else {
    copies.pop_front();
  }
  take_effect(copy);
}

void check_all_came() {
  for (const TensorCopy& copy : cluster->copies) {
    note_failure(*copy.to, "a tensor copy to byte %zu was not waited for", copy.place);
  }
  for (const auto& block : cluster->blocks) {
    for (const auto& [place, barrier] : block->barriers) {
      if (barrier.bytes == 0) continue;
      note_failure(*block, "the barrier at byte %zu ends with %lld bytes that did not come", place,
                   static_cast<long long>(barrier.bytes));
    }
  }
}

// --- cp.async ---

void async_copy(void* to, const void* from, int bytes, int zero_bytes) {
  running->open.push_back({to, from, bytes, zero_bytes});
}

void async_commit() { running->groups.push_back(std::exchange(running->open, {})); }

void async_wait(int groups_left) {
  while (running->groups.size() > static_cast<size_t>(groups_left)) {
    for (const Copy& copy : running->groups.front()) {
      std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
      std::memset(static_cast<char*>(copy.to) + copy.bytes, 0,
                  static_cast<size_t>(copy.zero_bytes));
    }
    running->groups.pop_front();
  }
}

}  // namespace emulator

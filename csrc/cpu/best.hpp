// The best k rows of every query: a buffer with room for more, cut back to k when it is full. A cut costs a
// few steps per row that came since the last one, where a heap would reorder itself for each.
//
// What is kept is decided by the one order of results, so it depends on the set of rows alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/types.hpp"

namespace idsim::cpu {

class BestLists {
 public:
  // k >= 1, or nothing may be added. Throws std::bad_alloc where the lists cannot be that long.
  BestLists(Metric metric, int64_t queries, int64_t k);

  // Adds a row; any thread. Returns the k-th best score where it is newly known.
  std::optional<float> add(int64_t query, const Scored& row);

  // Fetches what add() will touch: first the list's state, then, some time later, its end. Many lists written by
  // several cores are rarely near (1,024 queries, k = 1000: 8 % of the time of a search).
  void prefetch(int64_t query) const { __builtin_prefetch(&list(query), 1); }
  void prefetch_end(int64_t query) const { __builtin_prefetch(rows(query) + size(query), 1); }

  // The rest is for one thread per query, while nobody adds.
  // Cuts the list. Returns the k-th best score; none where there are fewer rows.
  std::optional<float> cut(int64_t query);
  // Cuts and orders the list, best first.
  void sort(int64_t query);
  int64_t size(int64_t query) const { return list(query).size.load(std::memory_order_relaxed); }
  const Scored* rows(int64_t query) const { return rows_.get() + query * room_; }

 private:
  struct alignas(64) List {
    std::atomic_flag lock = ATOMIC_FLAG_INIT;
    std::atomic<int64_t> size{0};
  };
  const List& list(int64_t query) const { return lists_[static_cast<size_t>(query)]; }

  Metric metric_;
  int64_t k_;
  int64_t room_;
  std::vector<List> lists_;
  std::unique_ptr<Scored[]> rows_;  // [queries, room], not initialised
};

}  // namespace idsim::cpu

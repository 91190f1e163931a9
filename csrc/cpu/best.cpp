#include "cpu/best.hpp"

#include <algorithm>
#include <limits>
#include <new>

#include "core/score.hpp"

namespace idsim::cpu {
namespace {

class SpinLock {
 public:
  explicit SpinLock(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~SpinLock() { flag_.clear(std::memory_order_release); }
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

 private:
  std::atomic_flag& flag_;
};

// Half of k to spare: the cuts of a long list cost as much as a few comparisons per row.
int64_t room_for(int64_t queries, int64_t k) {
  constexpr int64_t most =
      std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(Scored)) / 2;
  if (queries > 0 && k > most / queries) throw std::bad_alloc();
  return k + (k + 1) / 2;
}

template <class Action>
void with_order(Metric metric, const Action& action) {
  if (metric == Metric::l2) {
    action(BetterDistance{});
  } else {
    action(BetterSimilarity{});
  }
}

}  // namespace

BestLists::BestLists(Metric metric, int64_t queries, int64_t k)
    : metric_(metric),
      k_(k),
      room_(room_for(queries, k)),
      lists_(static_cast<size_t>(queries)),
      rows_(new Scored[static_cast<size_t>(queries * room_)]) {}

std::optional<float> BestLists::add(int64_t query, const Scored& row) {
  List& list = lists_[static_cast<size_t>(query)];
  const SpinLock lock(list.lock);
  const int64_t size = list.size.load(std::memory_order_relaxed);
  rows_[static_cast<size_t>(query * room_ + size)] = row;
  list.size.store(size + 1, std::memory_order_relaxed);
  if (size + 1 < room_) return std::nullopt;
  return cut(query);
}

std::optional<float> BestLists::cut(int64_t query) {
  if (k_ == 0 || size(query) < k_) return std::nullopt;
  Scored* first = rows_.get() + query * room_;
  with_order(metric_, [&](auto better) {
    std::nth_element(first, first + (k_ - 1), first + size(query), better);
  });
  lists_[static_cast<size_t>(query)].size.store(k_, std::memory_order_relaxed);
  return first[k_ - 1].score;
}

void BestLists::sort(int64_t query) {
  cut(query);
  Scored* first = rows_.get() + query * room_;
  with_order(metric_, [&](auto better) { std::sort(first, first + size(query), better); });
}

}  // namespace idsim::cpu

// BestLists keep the k best rows whatever the order of arrival, and say no score that k rows do not reach.
// guess_rank: at least k rows of a gallery reach the score at that place of a sample, almost always.
#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "check.hpp"
#include "core/score.hpp"
#include "cpu/best.hpp"
#include "cpu/guess.hpp"

namespace {

using idsim::Metric;
using idsim::Scored;
using idsim::cpu::BestLists;
using idsim::test::expect;
using idsim::test::Random;

bool before(Metric metric, const Scored& a, const Scored& b) {
  return metric == Metric::l2 ? idsim::BetterDistance{}(a, b) : idsim::BetterSimilarity{}(a, b);
}

enum class Arrival { random, best_first, best_last };

// n rows with many equal scores.
std::vector<Scored> rows_in(Arrival arrival, Metric metric, Random& random, int64_t n, int values) {
  std::vector<Scored> rows;
  for (int64_t i = 0; i < n; ++i) {
    rows.push_back({static_cast<float>(random.below(values) - values / 2), i});
  }
  if (arrival == Arrival::random) {
    for (size_t i = rows.size(); i > 1; --i) {
      std::swap(rows[i - 1], rows[static_cast<size_t>(random.below(static_cast<int>(i)))]);
    }
    return rows;
  }
  std::sort(rows.begin(), rows.end(), [&](const Scored& a, const Scored& b) {
    return arrival == Arrival::best_first ? before(metric, a, b) : before(metric, b, a);
  });
  return rows;
}

void check_list(BestLists& lists, Metric metric, int64_t query, int64_t k,
                std::vector<Scored> rows) {
  std::sort(rows.begin(), rows.end(),
            [&](const Scored& a, const Scored& b) { return before(metric, a, b); });
  const int64_t size = std::min(k, static_cast<int64_t>(rows.size()));
  lists.sort(query);
  expect(lists.size(query) == size, "k = %ld: %ld rows, not %ld", static_cast<long>(k),
         static_cast<long>(lists.size(query)), static_cast<long>(size));
  for (int64_t i = 0; i < std::min(size, lists.size(query)); ++i) {
    const Scored& found = lists.rows(query)[i];
    const Scored& wanted = rows[static_cast<size_t>(i)];
    expect(found.id == wanted.id && found.score == wanted.score, "k = %ld: place %ld is row %ld",
           static_cast<long>(k), static_cast<long>(i), static_cast<long>(found.id));
  }
}

void check_in_order(Metric metric, Arrival arrival, Random& random, int64_t k, int64_t n,
                    int values) {
  const std::vector<Scored> rows = rows_in(arrival, metric, random, n, values);
  BestLists lists(metric, 2, k);
  std::vector<Scored> seen;
  for (const Scored& row : rows) {
    seen.push_back(row);
    const std::optional<float> kth = lists.add(1, row);
    if (!kth) continue;
    const auto reaching = std::count_if(seen.begin(), seen.end(), [&](const Scored& r) {
      return metric == Metric::l2 ? r.score <= *kth : r.score >= *kth;
    });
    const auto above = std::count_if(seen.begin(), seen.end(), [&](const Scored& r) {
      return metric == Metric::l2 ? r.score < *kth : r.score > *kth;
    });
    expect(above < k && k <= reaching, "k = %ld: the k-th score is that of places %ld to %ld",
           static_cast<long>(k), static_cast<long>(above + 1), static_cast<long>(reaching));
  }
  check_list(lists, metric, 1, k, rows);
  expect(lists.size(0) == 0, "rows of another query");
}

void check_threads(Random& random) {
  constexpr int kThreads = 4;
  const std::vector<Scored> rows = rows_in(Arrival::random, Metric::cosine, random, 20'000, 500);
  BestLists lists(Metric::cosine, 1, 100);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < rows.size(); i += kThreads) lists.add(0, rows[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  check_list(lists, Metric::cosine, 0, 100, rows);
}

void check_guess_rank(Random& random) {
  for (const int64_t k : {1, 10, 100, 300}) {
    const int64_t n = 100'000;
    idsim::cpu::Gallery gallery;
    gallery.rows.view.rows = n;
    const idsim::SampleRule rule = idsim::cpu::choose_sample(gallery, k, false);
    const int64_t rank = idsim::cpu::guess_rank(rule, n, k);
    expect(1 <= rank && rank <= k, "k = %ld: place %ld", static_cast<long>(k),
           static_cast<long>(rank));
    int too_high = 0;
    for (int run = 0; run < 2000; ++run) {
      // Are `rank` of the k best rows in the sample, were each there with the sample's share?
      int64_t in_sample = 0;
      for (int64_t i = 0; i < k; ++i) in_sample += random.below(static_cast<int>(n)) < rule.count;
      too_high += in_sample >= rank && rank < k ? 1 : 0;
    }
    expect(too_high <= 12, "k = %ld: %d guesses of 2,000 are too high", static_cast<long>(k),
           too_high);
  }
}

}  // namespace

int main() {
  Random random(5);
  for (const Metric metric : {Metric::cosine, Metric::l2}) {
    for (const Arrival arrival : {Arrival::random, Arrival::best_first, Arrival::best_last}) {
      for (const int64_t k : {1, 2, 3, 10, 100, 999}) {
        for (const int64_t n : {int64_t{0}, k - 1, k, k + 1, 2 * k, int64_t{1500}}) {
          for (const int values : {1, 7, 1'000'000}) {
            check_in_order(metric, arrival, random, k, n, values);
          }
        }
      }
    }
  }
  check_threads(random);
  check_guess_rank(random);
  return idsim::test::finish("best_test");
}

#include "cpu/guess.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace idsim::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// q.x (l2: q.x - ||x||^2 / 2) of a row of the sample, as its codes have it.
struct Estimate {
  float key;
  int64_t row;
};

// The best `rank` estimates of a query: an append buffer like BestLists.
class BestEstimates {
 public:
  explicit BestEstimates(int64_t rank) : rank_(static_cast<size_t>(rank)) {}

  float floor() const { return floor_; }  // better ones alone are of interest
  void add(const Estimate& estimate) {
    best_.push_back(estimate);
    if (best_.size() == 2 * rank_) cut();
  }
  int64_t last() {
    if (best_.size() < rank_) return -1;
    cut();
    return best_.back().row;
  }

 private:
  void cut() {
    const auto last = best_.begin() + static_cast<int64_t>(rank_) - 1;
    std::nth_element(best_.begin(), last, best_.end(),
                     [](const Estimate& a, const Estimate& b) { return a.key > b.key; });
    best_.resize(rank_);
    floor_ = best_.back().key;
  }

  size_t rank_;
  float floor_ = -kInf;
  std::vector<Estimate> best_;
};

// The rows of a sample that may be among the best, found by the kernels of the scan with bounds left out.
class SampleScan {
 public:
  SampleScan(const Sample& sample, const Queries& queries, int64_t first, int n,
             const Kernels& kernels)
      : sample_(sample),
        queries_(queries),
        first_(first),
        n_(n),
        kernels_(kernels),
        tile_(block_rows(kernels, queries.d_pad())),
        hits_(int64_t{tile_} * (queries.few() ? n : kPanel)),
        staged_(kernels.staged_bytes != nullptr ? kernels.staged_bytes(tile_, queries.d_pad())
                                                : 0) {}

  int tile() const { return tile_; }

  // hits: rows from `row` with estimates of at least about floors[query].
  const Hit* scan(int64_t row, const std::vector<BestEstimates>& best, int* count) {
    alignas(64) float a[kPanel], b[kPanel];
    std::fill(a, a + kPanel, kInf);
    std::fill(b, b + kPanel, std::numeric_limits<float>::min());
    for (int i = 0; i < n_; ++i) {
      const QueryBound& bound = queries_.bound(first_ + i);
      const double floor = static_cast<double>(best[static_cast<size_t>(i)].floor());
      if (bound.coded) a[i] = clamped_down(floor / bound.scale);
    }
    const int d_pad = queries_.d_pad();
    const uint8_t* codes = sample_.codes.data() + row * d_pad;
    const auto rows = static_cast<int>(std::min<int64_t>(tile_, sample_.rule.count - row));
    const float* u = sample_.u.data() + row;
    const float* v = sample_.v.data() + row;
    const float* w = queries_.metric() == Metric::l2 ? sample_.w.data() + row : nullptr;
    const float* c = queries_.c() + first_;
    if (queries_.few()) {
      *count = kernels_.row_scan_hits({codes, rows, d_pad, queries_.code(first_), n_,
                                       queries_.offsets() + first_, u, v, w, a, b, c},
                                      hits_.data());
      return hits_.data();
    }
    TileArgs args{};
    args.staged = kernels_.stage_rows != nullptr && kernels_.stage_panels <= 1;
    if (args.staged) kernels_.stage_rows(codes, rows, d_pad, staged_.data());
    args.rows = args.staged ? static_cast<const void*>(staged_.data()) : codes;
    args.n_rows = rows;
    args.d_pad = d_pad;
    args.panel = queries_.panel(first_ / kPanel);
    args.u = u;
    args.v = v;
    args.w = w;
    args.a = a;
    args.b = b;
    args.c = c;
    *count = kernels_.tile_hits(args, hits_.data());
    return hits_.data();
  }

 private:
  const Sample& sample_;
  const Queries& queries_;
  int64_t first_;
  int n_;
  const Kernels& kernels_;
  int tile_;
  AlignedBuffer<Hit> hits_;
  AlignedBuffer<char> staged_;
};

}  // namespace

// The gallery has about Poisson(k count / rows) of its k best rows in the sample. Three standard deviations
// above that mean (with the first term of its skewness) is where one in a thousand lies. The k-th place is
// enough always.
int64_t guess_rank(const SampleRule& rule, int64_t gallery_rows, int64_t k) {
  // Neighbours are often alike, so that a run of them tells too much of a few places; and files are slow to
  // scan again.
  if (rule.run > 1) return k;
  const double mean =
      static_cast<double>(k) * static_cast<double>(rule.count) / static_cast<double>(gallery_rows);
  constexpr double deviations = 3.1;
  const double rank =
      std::ceil(mean + deviations * std::sqrt(mean) + (deviations * deviations + 2.0) / 6.0);
  return std::min(k, static_cast<int64_t>(rank));
}

void ranked_rows(const Sample& sample, const Queries& queries, int64_t first, int n, int64_t rank,
                 const Kernels& kernels, const Dropped& dropped, int64_t* rows) {
  SampleScan scan(sample, queries, first, n, kernels);
  std::vector<BestEstimates> best(static_cast<size_t>(n), BestEstimates(rank));
  for (int64_t j = 0; j < sample.rule.count; j += scan.tile()) {
    int count = 0;
    const Hit* hits = scan.scan(j, best, &count);
    for (int i = 0; i < count; ++i) {
      const int64_t row = j + hits[i].row;
      const int64_t query = first + hits[i].query;
      const auto scale = static_cast<float>(queries.bound(query).scale);
      const float key =
          static_cast<float>(hits[i].dot) * (scale * sample.scale[row]) - sample.half_square[row];
      BestEstimates& of_query = best[static_cast<size_t>(hits[i].query)];
      if (!(key > of_query.floor())) continue;
      if (dropped && dropped(query, sample.rule.row(row))) continue;
      of_query.add({key, row});
    }
  }
  for (int i = 0; i < n; ++i) rows[i] = best[static_cast<size_t>(i)].last();
}

}  // namespace idsim::cpu

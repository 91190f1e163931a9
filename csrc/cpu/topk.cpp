#include "cpu/topk.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "core/score.hpp"
#include "cpu/guess.hpp"

namespace idsim::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
// From this k on, candidates are tested with the second digit of their query before they are scored. Of 1M x
// 512 that saves 2 in 5 scores: 7 % of the time at 32 queries and k = 1000, nothing at 1,024; 4 % at k = 100.
constexpr int64_t kFineFrom = 256;
// Most pairs of a worker that wait for the end of their block.
constexpr size_t kMostWaiting = size_t{1} << 16;
constexpr size_t kAhead = 4;

// Fetches the first lines of a float32 row; the hardware follows.
void prefetch_row(const RowSource& rows, int64_t i) {
  const char* p = static_cast<const char*>(rows.view.data) + i * rows.view.row_stride;
  for (int line = 0; line < 8; ++line) __builtin_prefetch(p + 64 * line);
}

}  // namespace

TopK::TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
           const Exclusion& exclusion, const Kernels& kernels,
           const std::optional<Listing>& listing)
    : kernels_(kernels),
      queries_(queries, metric, kernels, Queries::Use::rows_or_tiles, exclusion.first_query_id),
      k_(k),
      threshold_(threshold),
      exclusion_(exclusion),
      triangle_(exclusion.triangle),
      slots_(static_cast<size_t>(queries.rows)),
      best_(metric, queries.rows, k) {
  exclusion_.triangle = false;
  if (listing) list_.emplace(metric, *listing);
  const FloatingPointScope floating_point;
  for (int64_t i = 0; i < queries.rows; ++i) set_reach(i, threshold);
}

void TopK::feed(const Gallery& gallery, const ScanOptions& options) {
  if (k_ == 0 || count() == 0) return;
  gallery_ = &gallery;
  end_again();  // left behind where the last part was interrupted
  threads_ = options.threads;
  if (list_) list_->make_parts(options.threads);
  waiting_ = std::vector<Waiting>(static_cast<size_t>(options.threads));
  if (k_ >= kFineFrom && fine_bounds_.empty()) make_fine_digits(options);
  const SampleRule rule =
      rows_scanned_ == 0 ? choose_sample(gallery, k_, queries_.few()) : SampleRule{};
  Poll poll;  // for interrupts; no row is done yet
  if (options.poll) poll = [&](int64_t) { options.poll(0); };
  const Sample sample(gallery, metric(), kernels_, rule, options.threads, poll);
  if (rule.count > 0) guess(sample, options.threads, poll);
  const ScanReport report = scan(gallery, queries_, *this, options);
  if (rule.count > 0) scan_again(sample, options);
  parallel_for(options.threads, count(),
               [&](int, int64_t i) {
                 if (const auto kth = best_.cut(i)) raise_reach(i, *kth);
               },
               {});
  skipped_rows_ += report.skipped_rows;
  rows_scanned_ += gallery.count();
  gallery_ = nullptr;
}

void TopK::make_fine_digits(const ScanOptions& options) {
  const int d_pad = queries_.d_pad();
  fine_ = AlignedBuffer<int8_t>(count() * d_pad);
  fine_bounds_.resize(static_cast<size_t>(count()));
  const auto body = [&](int, int64_t i) {
    fine_bounds_[static_cast<size_t>(i)] =
        fine_digits(queries_.row(i), dim(), d_pad, queries_.code(i), queries_.scale(i),
                    queries_.bound(i), fine_.data() + i * d_pad);
  };
  parallel_for(options.threads, count(), body, {});
}

void TopK::guess(const Sample& sample, int threads, const Poll& poll) {
  const int64_t rank = guess_rank(sample.rule, gallery_->count(), k_);
  Dropped dropped;
  if (exclusion_.any()) dropped = [&](int64_t query, int64_t row) { return drops(query, row); };
  const int64_t width = queries_.few() ? 1 : kPanel;
  const auto body = [&](int, int64_t item) {
    const int64_t first = item * width;
    const auto n = static_cast<int>(std::min(width, count() - first));
    int64_t rows[kPanel];
    ranked_rows(sample, queries_, first, n, rank, kernels_, dropped, rows);
    BlockReader reader(*gallery_, metric(), kernels_, 1);
    for (int i = 0; i < n; ++i) {
      if (rows[i] < 0) continue;
      const float* row = reader.row(sample.rule.row(rows[i]));
      raise_reach(first + i,
                  canonical_score(kernels_, queries_, first + i, row, sample.norm[rows[i]]));
    }
  };
  parallel_for(threads, (count() + width - 1) / width, body, poll);
}

// A list that was never cut holds every row that reaches its query's threshold: where that is the user's,
// all is done. Where it is a guess, rows below it are missing.
void TopK::scan_again(const Sample& sample, const ScanOptions& options) {
  std::vector<int64_t> again;
  for (int64_t i = 0; i < count(); ++i) {
    if (best_.size(i) < k_ && better(reach_of(i), threshold_)) again.push_back(i);
  }
  if (again.empty()) return;
  scanned_again_ += static_cast<int64_t>(again.size());
  const auto n = static_cast<int64_t>(again.size());
  AlignedBuffer<float> rows(n * dim());
  held_.resize(static_cast<size_t>(count()));
  const auto prepare = [&](int, int64_t i) {
    const int64_t query = again[static_cast<size_t>(i)];
    std::copy_n(queries_.row(query), dim(), rows.data() + i * dim());
    held_[static_cast<size_t>(query)] = reach_of(query);
    set_reach(query, certain_reach(sample, query));
  };
  parallel_for(options.threads, n, prepare, {});
  const Queries queries({rows.data(), n, dim(), dim() * int64_t{sizeof(float)}, sizeof(float)},
                        metric(), kernels_);
  ScanOptions rest = options;
  if (options.poll) rest.poll = [&](int64_t) { options.poll(gallery_->count()); };
  again_ = std::move(again);
  scan(*gallery_, queries, *this, rest);
  end_again();
}

void TopK::end_again() {
  held_.clear();
  for (const int64_t query : again_) set_reach(query, reach_of(query));  // and the list's
  again_.clear();
}

// What k rows of the sample are certain to reach, or the user's threshold.
float TopK::certain_reach(const Sample& sample, int64_t query) const {
  const int64_t rows = sample.rule.count;
  const int d_pad = queries_.d_pad();
  AlignedBuffer<int32_t> dots(rows);
  std::vector<float> keys(static_cast<size_t>(rows));
  for (int64_t j = 0; j < rows; ++j) {
    dots[j] = kernels_.dot_i8(sample.codes.data() + j * d_pad, queries_.code(query), d_pad);
  }
  const QueryBound& bound = queries_.bound(query);
  certain_keys(sample, bound, dots.data(), keys.data());
  for (int64_t j = 0; j < rows; ++j) {
    if (drops(query, sample.rule.row(j))) keys[static_cast<size_t>(j)] = -kInf;
  }
  const auto kth = keys.begin() + (k_ - 1);
  std::nth_element(keys.begin(), kth, keys.end(), std::greater<>());
  if (!bound.coded || *kth == -kInf) return threshold_;
  const float reach = score_of_key(metric(), bound, *kth);
  return better(reach, threshold_) ? reach : threshold_;
}

void TopK::load_terms(int64_t first, int n, float* a) const {
  for (int i = 0; i < n; ++i) {
    a[i] = slots_[static_cast<size_t>(number(first + i))].a.load(std::memory_order_relaxed);
  }
}

void TopK::take(const Hits& hits, BlockReader& reader, int worker) {
  const Block& block = hits.block;
  Waiting& waiting = waiting_[static_cast<size_t>(worker)];
  for (int i = 0; i < hits.count; ++i) {
    const Hit& hit = hits.hits[i];
    const int64_t query = number(hits.first_query + hit.query);
    if (!passes(block, hit.row, hit.dot, query)) continue;
    if (drops(query, block.first + hit.row)) continue;
    if (!fine_bounds_.empty() && !may_reach(block, hit, query)) continue;
    waiting.pairs.push_back({hit.row, static_cast<int32_t>(query), hit.dot});
    if (waiting.pairs.size() == kMostWaiting) score(block, reader, worker);
  }
  candidates_.fetch_add(hits.count, std::memory_order_relaxed);
}

// The test of the kernels again, with the threshold as it stands now.
bool TopK::passes(const Block& block, int row, int32_t dot, int64_t query) const {
  const float a = slots_[static_cast<size_t>(query)].a.load(std::memory_order_relaxed);
  const QueryTerms terms{a, queries_.b()[query], queries_.c()[query]};
  const RowTerms x{block.u[row], block.v[row], block.w != nullptr ? block.w[row] : 0.0F};
  return static_cast<float>(dot) >= row_limit(terms, x);
}

bool TopK::may_reach(const Block& block, const Hit& hit, int64_t query) const {
  const int d_pad = queries_.d_pad();
  const int32_t fine =
      kernels_.dot_i8(block.codes + int64_t{hit.row} * d_pad, fine_.data() + query * d_pad, d_pad);
  const QueryBound& bound = fine_bounds_[static_cast<size_t>(query)];
  const ProductRange product =
      product_range(metric(), bound, block.scale[hit.row], block.residual[hit.row],
                    block.norm[hit.row], static_cast<double>(two_digits(hit.dot, fine)));
  return !better(looser_of(query), possible_score(metric(), bound, product));
}

void TopK::end_block(const Block& block, BlockReader& reader, int worker) {
  if (!waiting_[static_cast<size_t>(worker)].pairs.empty()) score(block, reader, worker);
}

// Each float32 row is read once for all queries that want it.
void TopK::score(const Block& block, BlockReader& reader, int worker) {
  Waiting& waiting = waiting_[static_cast<size_t>(worker)];
  waiting.order(block.n);
  const std::vector<Pair>& pairs = waiting.pairs;
  for (size_t i = 0; gallery_->code_files != nullptr && i < pairs.size(); ++i) {
    if (i == 0 || pairs[i].row != pairs[i - 1].row) {
      expect_row(gallery_->rows, block.first + pairs[i].row);
    }
  }
  const bool in_memory = rows_are_float32(gallery_->rows);
  const float* x = nullptr;
  int32_t row_of_x = -1;
  int64_t rescored = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (in_memory && i + kAhead < pairs.size() &&
        pairs[i + kAhead].row != pairs[i + kAhead - 1].row) {
      prefetch_row(gallery_->rows, block.first + pairs[i + kAhead].row);
    }
    if (i + 2 * kAhead < pairs.size()) best_.prefetch(pairs[i + 2 * kAhead].query);
    if (i + kAhead < pairs.size()) best_.prefetch_end(pairs[i + kAhead].query);
    const auto [row, query, dot] = pairs[i];
    if (!passes(block, row, dot, query)) continue;
    if (row != row_of_x) x = reader.row(block.first + row);
    row_of_x = row;
    ++rescored;
    insert(query, canonical_score(kernels_, queries_, query, x, block.norm[row]),
           gallery_->first_id + block.first + row, worker);
  }
  if (list_) list_->count(worker);
  rescored_.fetch_add(rescored, std::memory_order_relaxed);
  waiting.pairs.clear();
}

// By counting; a few pairs stay as they are.
void TopK::Waiting::order(int rows) {
  if (pairs.size() < static_cast<size_t>(rows) / 8) return;
  starts.assign(static_cast<size_t>(rows) + 1, 0);
  for (const Pair& pair : pairs) ++starts[static_cast<size_t>(pair.row) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  by_row.resize(pairs.size());
  for (const Pair& pair : pairs) {
    by_row[static_cast<size_t>(starts[static_cast<size_t>(pair.row)]++)] = pair;
  }
  pairs.swap(by_row);
}

void TopK::take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = hits[i].row;
    const int64_t query = number(hits[i].query);
    if (drops(query, row)) continue;
    const double norm = row_norm(kernels_, queries_, reader.row(row));
    insert(query, canonical_score(kernels_, queries_, query, reader.row(row), norm),
           gallery_->first_id + row, worker);
  }
  if (list_) list_->count(worker);
  candidates_.fetch_add(count, std::memory_order_relaxed);
  rescored_.fetch_add(count, std::memory_order_relaxed);
}

void TopK::insert(int64_t query, float score, int64_t id, int worker) {
  // The first scan of a query listed all its pairs.
  if (list_ && held_.empty() && list_->wants(score) &&
      (!triangle_ || id > exclusion_.first_query_id + query)) {
    list_->add({query, id, score}, worker);
  }
  if (better(reach_of(query), score)) return;
  if (!held_.empty() && !better(held_[static_cast<size_t>(query)], score)) return;
  if (const auto kth = best_.add(query, {score, id})) raise_reach(query, *kth);
}

// Of two threads that raise it at once the lower may win: then a few more rows are looked at.
void TopK::raise_reach(int64_t query, float reach) {
  if (better(reach, reach_of(query))) set_reach(query, reach);
}

void TopK::set_reach(int64_t query, float reach) {
  Slot& slot = slots_[static_cast<size_t>(query)];
  const bool lists = list_ && held_.empty() && better(reach, list_->threshold());
  const float looser = lists ? list_->threshold() : reach;
  slot.reach.store(reach, std::memory_order_relaxed);
  slot.looser.store(looser, std::memory_order_relaxed);
  slot.a.store(query_terms(metric(), queries_.bound(query), looser).a, std::memory_order_relaxed);
}

void TopK::finish(float* scores, int64_t* ids) {
  const float worst = metric() == Metric::l2 ? kInf : -kInf;
  const auto body = [&](int, int64_t i) {  // subnormal scores differ from 0 in parallel_for
    best_.sort(i);
    const Scored* rows = best_.rows(i);
    for (int64_t j = 0; j < k_; ++j) {
      const bool found = j < best_.size(i);
      scores[i * k_ + j] = found ? rows[j].score : worst;
      ids[i * k_ + j] = found ? rows[j].id : -1;
    }
  };
  parallel_for(threads_, count(), body, {});
}

const std::vector<FoundPair>& TopK::finish_pairs() {
  static const std::vector<FoundPair> none;
  return list_ ? list_->finish() : none;
}

Certificate TopK::certificate() const {
  return {rows_scanned_,    rows_scanned_ * count(), candidates_.load(),
          rescored_.load(), skipped_rows_,           scanned_again_};
}

}  // namespace idsim::cpu

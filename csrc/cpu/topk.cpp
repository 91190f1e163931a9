#include "cpu/topk.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <new>

#include "core/score.hpp"

namespace idsim::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

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

size_t checked_size(int64_t queries, int64_t k) {
  constexpr int64_t most =
      std::numeric_limits<int64_t>::max() / static_cast<int64_t>(sizeof(Scored));
  if (queries > 0 && k > most / queries) throw std::bad_alloc();
  return static_cast<size_t>(queries * k);
}

// Fetches the first lines of a float32 row; the hardware follows.
void prefetch_row(const RowSource& rows, int64_t i) {
  const char* p = static_cast<const char*>(rows.view.data) + i * rows.view.row_stride;
  for (int line = 0; line < 8; ++line) __builtin_prefetch(p + 64 * line);
}

}  // namespace

TopK::TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
           const Exclusion& exclusion, const Kernels& kernels)
    : kernels_(kernels),
      queries_(queries, metric, kernels, Queries::Use::rows_or_tiles, exclusion.first_query_id),
      k_(k),
      exclusion_(exclusion),
      slots_(static_cast<size_t>(queries.rows)),
      heaps_(new Scored[checked_size(queries.rows, k)]) {
  const FloatingPointScope floating_point;
  for (int64_t i = 0; i < queries.rows; ++i) {
    Slot& slot = slots_[static_cast<size_t>(i)];
    slot.reach.store(threshold);
    slot.a.store(query_terms(metric, queries_.bound(i), threshold).a);
  }
}

void TopK::feed(const Gallery& gallery, const ScanOptions& options) {
  if (k_ == 0 || count() == 0) return;
  gallery_ = &gallery;
  sampled_ = {};
  if (rows_scanned_ == 0) seed(gallery, options);
  const ScanReport report = scan(gallery, queries_, *this, options);
  skipped_rows_ += report.skipped_rows;
  rows_scanned_ += gallery.count();
  gallery_ = nullptr;
}

void TopK::load_terms(int64_t first, int n, float* a) const {
  for (int i = 0; i < n; ++i) {
    a[i] = slots_[static_cast<size_t>(first + i)].a.load(std::memory_order_relaxed);
  }
}

void TopK::take(const Hits& hits, BlockReader& reader, int) {
  const Block& block = hits.block;
  const bool in_memory = rows_are_float32(gallery_->rows);
  int64_t rescored = 0;
  for (int i = 0; gallery_->code_files != nullptr && i < hits.count; ++i) {
    expect_row(gallery_->rows, block.first + hits.hits[i].row);
  }
  for (int i = 0; i < hits.count; ++i) {
    if (in_memory && i + 4 < hits.count) {
      prefetch_row(gallery_->rows, block.first + hits.hits[i + 4].row);
    }
    const Hit& hit = hits.hits[i];
    const int64_t query = hits.first_query + hit.query;
    const int64_t row = block.first + hit.row;
    const float a = slots_[static_cast<size_t>(query)].a.load(std::memory_order_relaxed);
    const QueryTerms terms{a, queries_.b()[query], queries_.c()[query]};
    const RowTerms x{block.u[hit.row], block.v[hit.row],
                     block.w != nullptr ? block.w[hit.row] : 0.0F};
    if (!(static_cast<float>(hit.dot) >= row_limit(terms, x))) continue;
    if (sampled_.holds(row)) continue;
    offer(*gallery_, query, row, block.norm[hit.row], reader);
    ++rescored;
  }
  candidates_.fetch_add(hits.count, std::memory_order_relaxed);
  rescored_.fetch_add(rescored, std::memory_order_relaxed);
}

void TopK::take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int) {
  for (int64_t i = 0; i < count; ++i) {
    if (sampled_.holds(hits[i].row)) continue;
    offer(*gallery_, hits[i].query, hits[i].row,
          row_norm(kernels_, queries_, reader.row(hits[i].row)), reader);
  }
  candidates_.fetch_add(count, std::memory_order_relaxed);
  rescored_.fetch_add(count, std::memory_order_relaxed);
}

void TopK::offer(const Gallery& gallery, int64_t query, int64_t row, double row_norm,
                 BlockReader& reader) {
  const int64_t id = gallery.first_id + row;
  if (exclusion_.any() && exclusion_.drops(query, id, gallery.groups, row)) return;
  insert(query, canonical_score(kernels_, queries_, query, reader.row(row), row_norm), id);
}

void TopK::insert(int64_t query, float score, int64_t id) {
  Slot& slot = slots_[static_cast<size_t>(query)];
  if (better(slot.reach.load(std::memory_order_relaxed), score)) return;
  const Scored entry{score, id};
  const auto add = [&](auto first) {
    const SpinLock lock(slot.lock);
    Scored* heap = heaps_.get() + query * k_;
    if (slot.size < k_) {
      heap[slot.size++] = entry;
      std::push_heap(heap, heap + slot.size, first);
    } else if (first(entry, heap[0])) {
      std::pop_heap(heap, heap + k_, first);
      heap[k_ - 1] = entry;
      std::push_heap(heap, heap + k_, first);
    }
    if (slot.size == k_) raise_reach(slot, query, heap[0].score);
  };
  if (metric() == Metric::l2) {
    add(BetterDistance{});
  } else {
    add(BetterSimilarity{});
  }
}

void TopK::raise_reach(Slot& slot, int64_t query, float reach) {
  if (!better(reach, slot.reach.load(std::memory_order_relaxed))) return;
  slot.reach.store(reach, std::memory_order_relaxed);
  slot.a.store(query_terms(metric(), queries_.bound(query), reach).a, std::memory_order_relaxed);
}

void TopK::seed(const Gallery& gallery, const ScanOptions& options) {
  const SampleRule rule = choose_sample(gallery, k_, queries_.few());
  if (rule.stride == 0) return;
  Poll poll;  // for interrupts; no row is done yet
  if (options.poll) poll = [&](int64_t) { options.poll(0); };
  const Sample sample(gallery, metric(), kernels_, rule, options.threads, poll);
  const auto few = [&](int, int64_t query) {
    AlignedBuffer<int32_t> dots(rule.count);
    BlockReader reader(gallery, metric(), kernels_, 1);
    std::vector<float> keys;
    const int d_pad = queries_.d_pad();
    for (int64_t j = 0; j < rule.count; ++j) {
      dots[j] = kernels_.dot_i8(sample.codes.data() + j * d_pad, queries_.code(query), d_pad);
    }
    seed_query(sample, query, dots.data(), 1, reader, keys);
  };
  const auto panel = [&](int, int64_t p) {
    AlignedBuffer<int32_t> dots(rule.count * kPanel);
    sample_dots(sample, p, dots.data());
    BlockReader reader(gallery, metric(), kernels_, 1);
    std::vector<float> keys;
    const int64_t end = std::min((p + 1) * kPanel, count());
    for (int64_t q = p * kPanel; q < end; ++q) {
      seed_query(sample, q, dots.data() + (q - p * kPanel), kPanel, reader, keys);
    }
  };
  if (queries_.few()) {
    parallel_for(options.threads, count(), few, poll);
  } else {
    parallel_for(options.threads, queries_.panels(), panel, poll);
  }
  sampled_ = rule;
}

void TopK::sample_dots(const Sample& sample, int64_t panel, int32_t* dots) const {
  const int d_pad = queries_.d_pad();
  const int tile = block_rows(kernels_, d_pad);
  AlignedBuffer<char> staged(kernels_.staged_bytes != nullptr ? kernels_.staged_bytes(tile, d_pad)
                                                              : 0);
  for (int64_t j = 0; j < sample.rule.count; j += tile) {
    TileArgs args{};
    args.rows = sample.codes.data() + j * d_pad;
    args.n_rows = static_cast<int>(std::min<int64_t>(tile, sample.rule.count - j));
    args.d_pad = d_pad;
    args.panel = queries_.panel(panel);
    if (kernels_.stage_rows != nullptr) {
      kernels_.stage_rows(sample.codes.data() + j * d_pad, args.n_rows, d_pad, staged.data());
      args.rows = staged.data();
    }
    kernels_.tile_dots(args, dots + j * kPanel);
  }
}

// First the k-th best certain score of the sample becomes the threshold, then the sample's rows that reach
// it are scored and kept.
void TopK::seed_query(const Sample& sample, int64_t query, const int32_t* dots, int64_t stride,
                      BlockReader& reader, std::vector<float>& keys) {
  const QueryBound& bound = queries_.bound(query);
  const int64_t rows = sample.rule.count;
  keys.resize(static_cast<size_t>(rows));
  certain_keys(sample, bound, dots, stride, keys.data());
  if (exclusion_.any()) {
    for (int64_t j = 0; j < rows; ++j) {
      const int64_t row = sample.rule.row(j);
      if (exclusion_.drops(query, gallery_->first_id + row, gallery_->groups, row)) {
        keys[static_cast<size_t>(j)] = -kInf;
      }
    }
  }
  const auto kth = keys.begin() + (k_ - 1);
  std::nth_element(keys.begin(), kth, keys.end(), std::greater<>());
  Slot& slot = slots_[static_cast<size_t>(query)];
  if (bound.coded && *kth > -kInf) raise_reach(slot, query, score_of_key(metric(), bound, *kth));

  int64_t rescored = 0;
  for (int64_t j = 0; j < rows; ++j) {
    const QueryTerms terms{slot.a.load(std::memory_order_relaxed), queries_.b()[query],
                           queries_.c()[query]};
    if (!(static_cast<float>(dots[j * stride]) >=
          row_limit(terms, {sample.u[j], sample.v[j], sample.w[j]}))) {
      continue;
    }
    offer(*gallery_, query, sample.rule.row(j), sample.norm[j], reader);
    ++rescored;
  }
  rescored_.fetch_add(rescored, std::memory_order_relaxed);
}

void TopK::finish(float* scores, int64_t* ids) {
  const FloatingPointScope floating_point;  // subnormal scores differ from 0
  const float worst = metric() == Metric::l2 ? kInf : -kInf;
  for (int64_t i = 0; i < count(); ++i) {
    Scored* heap = heaps_.get() + i * k_;
    const int64_t size = slots_[static_cast<size_t>(i)].size;
    if (metric() == Metric::l2) {
      std::sort(heap, heap + size, BetterDistance{});
    } else {
      std::sort(heap, heap + size, BetterSimilarity{});
    }
    for (int64_t j = 0; j < k_; ++j) {
      scores[i * k_ + j] = j < size ? heap[j].score : worst;
      ids[i * k_ + j] = j < size ? heap[j].id : -1;
    }
  }
}

Certificate TopK::certificate() const {
  return {rows_scanned_, rows_scanned_ * count(), candidates_.load(), rescored_.load(),
          skipped_rows_};
}

}  // namespace idsim::cpu

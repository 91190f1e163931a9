#include "cpu/topk.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

// Fetches the first lines of a float32 row; the hardware follows.
void prefetch_row(const RowSource& rows, int64_t i) {
  const char* p = static_cast<const char*>(rows.view.data) + i * rows.view.row_stride;
  for (int line = 0; line < 8; ++line) __builtin_prefetch(p + 64 * line);
}

}  // namespace

TopK::TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold, const Exclusion& exclusion,
           const Kernels& kernels)
    : kernels_(kernels),
      queries_(queries, metric, kernels),
      k_(k),
      exclusion_(exclusion),
      slots_(static_cast<size_t>(queries.rows)),
      heaps_(new Scored[static_cast<size_t>(queries.rows * k)]) {
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
  for (int i = 0; i < hits.count; ++i) {
    if (in_memory && i + 4 < hits.count) {
      prefetch_row(gallery_->rows, block.first + hits.hits[i + 4].row);
    }
    const Hit& hit = hits.hits[i];
    const int64_t query = hits.first_query + hit.query;
    const int64_t row = block.first + hit.row;
    const float a = slots_[static_cast<size_t>(query)].a.load(std::memory_order_relaxed);
    const QueryTerms terms{a, queries_.b()[query], queries_.c()[query]};
    const RowTerms x{block.u[hit.row], block.v[hit.row], block.w != nullptr ? block.w[hit.row] : 0.0F};
    if (!(static_cast<float>(hit.dot) >= row_limit(terms, x))) continue;
    if (sampled_.holds(row)) continue;
    offer(*gallery_, query, row, block.norm[hit.row], reader);
    ++rescored;
  }
  candidates_.fetch_add(hits.count, std::memory_order_relaxed);
  rescored_.fetch_add(rescored, std::memory_order_relaxed);
}

void TopK::offer(const Gallery& gallery, int64_t query, int64_t row, double row_norm, BlockReader& reader) {
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
  const SampleRule rule = choose_sample(gallery.count(), k_, queries_.few());
  if (rule.stride == 0) return;
  const Sample sample(gallery, metric(), kernels_, rule, options.threads);
  const int d_pad = queries_.d_pad();
  const int64_t width = queries_.few() ? 1 : kPanel;
  const int rows_per_tile = block_rows(kernels_, d_pad);
  const auto seed_panel = [&](int, int64_t p) {
    AlignedBuffer<int32_t> dots(rule.count * width);
    BlockReader reader(gallery, metric(), kernels_, 1);
    std::vector<float> certain;
    if (queries_.few()) {
      for (int64_t j = 0; j < rule.count; ++j) {
        dots[j] = kernels_.dot_i8(sample.codes.data() + j * d_pad, queries_.code(p), d_pad);
      }
      return seed_query(sample, p, dots.data(), 1, reader, certain);
    }
    AlignedBuffer<char> staged(kernels_.staged_bytes != nullptr ? kernels_.staged_bytes(rows_per_tile, d_pad) : 0);
    for (int64_t j = 0; j < rule.count; j += rows_per_tile) {
      TileArgs args{};
      args.rows = sample.codes.data() + j * d_pad;
      args.n_rows = static_cast<int>(std::min<int64_t>(rows_per_tile, rule.count - j));
      args.d_pad = d_pad;
      args.panel = queries_.panel(p);
      if (kernels_.stage_rows != nullptr) {
        kernels_.stage_rows(sample.codes.data() + j * d_pad, args.n_rows, d_pad, staged.data());
        args.rows = staged.data();
      }
      kernels_.tile_dots(args, dots.data() + j * kPanel);
    }
    const int64_t end = std::min((p + 1) * kPanel, count());
    for (int64_t q = p * kPanel; q < end; ++q) {
      seed_query(sample, q, dots.data() + (q - p * kPanel), kPanel, reader, certain);
    }
  };
  parallel_for(options.threads, queries_.few() ? count() : queries_.panels(), seed_panel, {});
  sampled_ = rule;
}

// First the k-th best certain score of the sample becomes the threshold, then the sample's rows that reach
// it are scored and kept.
void TopK::seed_query(const Sample& sample, int64_t query, const int32_t* dots, int64_t stride,
                      BlockReader& reader, std::vector<float>& certain) {
  const QueryBound& bound = queries_.bound(query);
  Slot& slot = slots_[static_cast<size_t>(query)];
  const auto eligible = [&](int64_t j) {
    if (std::isnan(sample.norm[j])) return false;
    const int64_t row = sample.rule.row(j);
    return !exclusion_.any() || !exclusion_.drops(query, gallery_->first_id + row, gallery_->groups, row);
  };
  certain.clear();
  for (int64_t j = 0; j < sample.rule.count; ++j) {
    if (!eligible(j)) continue;
    certain.push_back(
        score_range(metric(), bound, sample.scale[j], sample.residual[j], sample.norm[j], dots[j * stride]).certain);
  }
  if (static_cast<int64_t>(certain.size()) >= k_) {
    const auto kth = certain.begin() + (k_ - 1);
    std::nth_element(certain.begin(), kth, certain.end(), [&](float a, float b) { return better(a, b); });
    raise_reach(slot, query, *kth);
  }
  for (int64_t j = 0; j < sample.rule.count; ++j) {
    const QueryTerms terms{slot.a.load(std::memory_order_relaxed), queries_.b()[query], queries_.c()[query]};
    if (!(static_cast<float>(dots[j * stride]) >= row_limit(terms, {sample.u[j], sample.v[j], sample.w[j]}))) {
      continue;
    }
    offer(*gallery_, query, sample.rule.row(j), sample.norm[j], reader);
    rescored_.fetch_add(1, std::memory_order_relaxed);
  }
}

void TopK::finish(float* scores, int64_t* ids) {
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
  return {rows_scanned_, rows_scanned_ * count(), candidates_.load(), rescored_.load(), skipped_rows_};
}

}  // namespace idsim::cpu

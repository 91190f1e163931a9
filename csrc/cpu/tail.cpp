#include "cpu/tail.hpp"

#include <algorithm>
#include <utility>

namespace idsim::cpu {
namespace {

std::vector<float> fixed_terms(const Queries& queries, float reach) {
  const FloatingPointScope floating_point;
  std::vector<float> a(static_cast<size_t>(queries.count()));
  for (int64_t i = 0; i < queries.count(); ++i) {
    a[static_cast<size_t>(i)] = query_terms(queries.metric(), queries.bound(i), reach).a;
  }
  return a;
}

float loosest(Metric metric, const std::vector<float>& thresholds) {
  return metric == Metric::l2 ? *std::max_element(thresholds.begin(), thresholds.end())
                              : *std::min_element(thresholds.begin(), thresholds.end());
}

}  // namespace

CountAbove::CountAbove(const MatrixView& queries, Metric metric, std::vector<float> thresholds,
                       const Exclusion& exclusion, const Kernels& kernels)
    : kernels_(kernels),
      queries_(queries, metric, kernels, Queries::Use::rows_or_tiles, exclusion.first_query_id),
      thresholds_(std::move(thresholds)),
      exclusion_(exclusion),
      counts_(std::make_unique<std::atomic<int64_t>[]>(static_cast<size_t>(queries.rows) *
                                                       thresholds_.size())) {
  const FloatingPointScope floating_point;
  if (thresholds_.empty()) return;
  loosest_ = loosest(metric, thresholds_);
  a_ = fixed_terms(queries_, loosest_);
}

ScanReport CountAbove::feed(const Gallery& gallery, const ScanOptions& options) {
  if (thresholds_.empty()) return {};
  gallery_ = &gallery;
  return scan(gallery, queries_, *this, options);
}

void CountAbove::load_terms(int64_t first, int n, float* a) const {
  std::copy_n(a_.begin() + first, n, a);
}

void CountAbove::take(const Hits& hits, BlockReader& reader, int) {
  const Block& block = hits.block;
  for (int i = 0; i < hits.count; ++i) {
    const Hit& hit = hits.hits[i];
    const int64_t query = hits.first_query + hit.query;
    const int64_t row = block.first + hit.row;
    if (exclusion_.any() &&
        exclusion_.drops(query, gallery_->first_id + row, gallery_->groups, row))
      continue;
    const ScoreRange range = score_range(metric(), queries_.bound(query), block.scale[hit.row],
                                         block.residual[hit.row], block.norm[hit.row], hit.dot);
    const bool undecided = std::any_of(thresholds_.begin(), thresholds_.end(), [&](float t) {
      return !reaches(range.certain, t) && reaches(range.possible, t);
    });
    const float score =
        undecided ? canonical_score(kernels_, queries_, query, reader.row(row), block.norm[hit.row])
                  : range.certain;
    auto* counts = counts_.get() + query * thresholds();
    for (size_t t = 0; t < thresholds_.size(); ++t) {
      if (reaches(score, thresholds_[t])) counts[t].fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void CountAbove::finish(int64_t* counts) const {
  for (int64_t i = 0; i < count() * thresholds(); ++i)
    counts[i] = counts_[static_cast<size_t>(i)].load();
}

PairsAbove::PairsAbove(const MatrixView& queries, Metric metric, const Listing& listing,
                       const Exclusion& exclusion, const Kernels& kernels)
    : kernels_(kernels),
      queries_(queries, metric, kernels, Queries::Use::rows_or_tiles, exclusion.first_query_id),
      exclusion_(exclusion),
      a_(fixed_terms(queries_, listing.threshold)),
      list_(metric, listing) {}

ScanReport PairsAbove::feed(const Gallery& gallery, const ScanOptions& options) {
  gallery_ = &gallery;
  list_.make_parts(options.threads);
  return scan(gallery, queries_, *this, options);
}

void PairsAbove::load_terms(int64_t first, int n, float* a) const {
  std::copy_n(a_.begin() + first, n, a);
}

void PairsAbove::take(const Hits& hits, BlockReader& reader, int worker) {
  for (int i = 0; i < hits.count; ++i) {
    const Hit& hit = hits.hits[i];
    offer(hits.first_query + hit.query, hits.block.first + hit.row, hits.block.norm[hit.row],
          reader, worker);
  }
  list_.count(worker);
}

void PairsAbove::take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) {
  for (int64_t i = 0; i < count; ++i) {
    const double norm = row_norm(kernels_, queries_, reader.row(hits[i].row));
    offer(hits[i].query, hits[i].row, norm, reader, worker);
  }
  list_.count(worker);
}

void PairsAbove::offer(int64_t query, int64_t row, double norm, BlockReader& reader, int worker) {
  const int64_t id = gallery_->first_id + row;
  if (exclusion_.any() && exclusion_.drops(query, id, gallery_->groups, row)) return;
  const float score = canonical_score(kernels_, queries_, query, reader.row(row), norm);
  if (list_.wants(score)) list_.add({query, id, score}, worker);
}

}  // namespace idsim::cpu

#include "cpu/distribution.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/bins.hpp"

namespace idsim::cpu {

Distribution::Distribution(const MatrixView& queries, int bins, float tail,
                           const Exclusion& exclusion, const int64_t* query_groups,
                           const Kernels& kernels)
    : kernels_(kernels),
      queries_(queries, Metric::cosine, kernels, Queries::Use::tiles, exclusion.first_query_id),
      bins_(bins),
      exclusion_(exclusion),
      query_groups_(query_groups),
      scale_(static_cast<size_t>(queries_.panels() * kPanel), 0.0F),
      a_(static_cast<size_t>(queries_.panels() * kPanel), std::numeric_limits<float>::infinity()) {
  const FloatingPointScope floating_point;
  for (int64_t i = 0; i < queries_.count(); ++i) {
    scale_[static_cast<size_t>(i)] = static_cast<float>(queries_.bound(i).scale);
    a_[static_cast<size_t>(i)] = query_terms(Metric::cosine, queries_.bound(i), tail).a;
  }
}

ScanReport Distribution::feed(const Gallery& gallery, const ScanOptions& options) {
  gallery_ = &gallery;
  while (parts_.size() < static_cast<size_t>(options.threads)) {
    parts_.push_back({std::vector<uint64_t>(2 * static_cast<size_t>(bins_)), 0.0});
  }
  return scan_dense(gallery, queries_, *this, options);
}

bool Distribution::wants(int64_t first_row, int n, int64_t first_query) const {
  if (!exclusion_.triangle) return true;
  // A row meets its own panel even where no pair is left of it: worst_row() is then over all rows.
  return gallery_->first_id + first_row + n - 1 >= exclusion_.first_query_id + first_query;
}

void Distribution::take_all(const Block& block, int64_t first_query, const int32_t* dots,
                            BlockReader& reader, int worker) {
  const auto n = static_cast<int>(std::min<int64_t>(kPanel, queries_.count() - first_query));
  Part& part = parts_[static_cast<size_t>(worker)];
  for (int row = 0; row < block.n; ++row) {
    if (std::isnan(block.norm[row])) continue;
    take_row(block, row, first_query, n, dots + row * kPanel, reader, part);
  }
}

void Distribution::take_row(const Block& block, int row, int64_t first_query, int n_queries,
                            const int32_t* dots, BlockReader& reader, Part& part) const {
  const double norm = block.norm[row];
  const double unit = norm > 0.0 ? 1.0 / norm : 0.0;
  // A row that always passes is always binned by its canonical score.
  if (std::isfinite(block.v[row])) {
    part.worst_row = std::max(part.worst_row, static_cast<double>(block.residual[row]) * unit);
  }
  const float row_scale = estimate_scale(block.scale[row], norm);
  const float* a = a_.data() + first_query;
  const float* scale = scale_.data() + first_query;
  const float* b = queries_.b() + first_query;

  int32_t bin[kPanel];
  bool exact[kPanel];
  for (int q = 0; q < kPanel; ++q) {
    const auto product = static_cast<float>(dots[q]);
    bin[q] = estimate_bin(product, scale[q], row_scale, bins_);
    exact[q] = product >= a[q] * block.u[row] - b[q] * block.v[row];
  }
  const int64_t gallery_row = block.first + row;
  const int64_t id = gallery_->first_id + gallery_row;
  const bool check = exclusion_.any();
  const bool grouped = query_groups_ != nullptr && gallery_->groups != nullptr;
  for (int q = 0; q < n_queries; ++q) {
    const int64_t query = first_query + q;
    if (check && exclusion_.drops(query, id, gallery_->groups, gallery_row)) continue;
    auto at = static_cast<size_t>(bin[q]);
    if (exact[q]) {
      const float score = canonical_score(kernels_, queries_, query, reader.row(gallery_row), norm);
      at = static_cast<size_t>(exact_bin(static_cast<double>(score), bins_));
    }
    const bool mated = grouped && query_groups_[query] == gallery_->groups[gallery_row];
    ++part.counts[at + (mated ? static_cast<size_t>(bins_) : 0)];
  }
}

void Distribution::add_to(uint64_t* non_mated, uint64_t* mated) const {
  for (const Part& part : parts_) {
    for (int i = 0; i < bins_; ++i) {
      non_mated[i] += part.counts[static_cast<size_t>(i)];
      mated[i] += part.counts[static_cast<size_t>(i + bins_)];
    }
  }
}

double Distribution::worst_row() const {
  double worst_row = 0.0;
  for (const Part& part : parts_) worst_row = std::max(worst_row, part.worst_row);
  return worst_row;
}

double Distribution::max_error(double worst_row) const {
  const QueryBound* bounds = queries_.count() > 0 ? &queries_.bound(0) : nullptr;
  return largest_estimate_error(bounds, queries_.count(), worst_row);
}

}  // namespace idsim::cpu

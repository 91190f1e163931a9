#include "cpu/queries.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "core/threads.hpp"

namespace idsim::cpu {

Queries::Queries(const MatrixView& rows, Metric metric, const Kernels& kernels, Use use,
                 int64_t first_number)
    : count_(rows.rows),
      dim_(rows.cols),
      d_pad_(static_cast<int>(padded_dim(rows.cols))),
      metric_(metric),
      most_few_(kernels.few_queries),
      panel_bytes_(kernels.panel_bytes(d_pad_)),
      rows_(count_ * dim_),
      codes_(count_ * d_pad_),
      panels_(panels() * panel_bytes_),
      b_(panels() * kPanel),
      c_(panels() * kPanel),
      offsets_(static_cast<size_t>(count_)),
      bounds_(static_cast<size_t>(count_)),
      scales_(static_cast<size_t>(count_)),
      norms_(static_cast<size_t>(count_)),
      squares_(static_cast<size_t>(count_)) {
  const FloatingPointScope floating_point;
  std::fill(b_.data(), b_.data() + panels() * kPanel, 1.0F);
  std::fill(c_.data(), c_.data() + panels() * kPanel, 0.0F);
  const RowSource source{rows};
  AlignedBuffer<float> scratch(row_scratch(dim_));
  AlignedBuffer<uint8_t> code(d_pad_);
  for (int64_t i = 0; i < count_; ++i) {
    float* copy = rows_.data() + i * dim_;
    std::memcpy(copy, load_row(source, i, scratch.data()),
                static_cast<size_t>(dim_) * sizeof(float));
    const RowStats stats = kernels.quantize_row(copy, dim_, code.data());
    if (std::isnan(stats.norm)) throw NonFiniteRow("queries", first_number + i);
    int32_t sum = 0;
    for (int j = 0; j < d_pad_; ++j) {
      const int value = static_cast<int>(code[j]) - 128;
      codes_[i * d_pad_ + j] = static_cast<int8_t>(value);
      sum += value;
    }
    const auto at = static_cast<size_t>(i);
    offsets_[at] = 128 * sum;
    bounds_[at] = query_bound(metric, stats);
    scales_[at] = static_cast<double>(stats.scale);
    const QueryTerms terms = query_terms(metric, bounds_[at], 0.0F);
    b_[i] = terms.b;
    c_[i] = terms.c;
    norms_[at] = stats.norm;
    squares_[at] = metric == Metric::l2 ? kernels.dot(copy, copy, dim_) : 0.0;
  }
  if (use == Use::tiles || !few()) pack(kernels);
}

void Queries::pack(const Kernels& kernels) {
  for (int64_t p = 0; p < panels(); ++p) {
    const int64_t first = p * kPanel;
    const auto n = static_cast<int>(std::min<int64_t>(kPanel, count_ - first));
    kernels.pack_panel(code(first), n, d_pad_, panels_.data() + p * panel_bytes_);
  }
}

}  // namespace idsim::cpu

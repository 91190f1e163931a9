// Queries made ready for the tile kernels: float32 rows for the exact score, codes, packed panels, bounds.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "core/bounds.hpp"
#include "core/rows.hpp"
#include "core/score.hpp"
#include "cpu/kernels.hpp"

namespace idsim::cpu {

class Queries {
 public:
  // Which kernels will be used: the row scan where there are few queries, or always the tiles.
  enum class Use { rows_or_tiles, tiles };

  // Copies the rows. Throws NonFiniteRow for a row with NaN or Inf, counting from first_number.
  Queries(const MatrixView& rows, Metric metric, const Kernels& kernels,
          Use use = Use::rows_or_tiles, int64_t first_number = 0);

  int64_t count() const { return count_; }
  int64_t dim() const { return dim_; }
  int d_pad() const { return d_pad_; }
  Metric metric() const { return metric_; }
  int64_t panels() const { return (count_ + kPanel - 1) / kPanel; }
  bool few() const { return count_ <= most_few_; }

  const float* row(int64_t i) const { return rows_.data() + i * dim_; }
  const int8_t* code(int64_t i) const { return codes_.data() + i * d_pad_; }
  const int32_t* offsets() const { return offsets_.data(); }  // [count] 128 * sum of codes
  const void* panel(int64_t p) const { return panels_.data() + p * panel_bytes_; }
  const float* b() const {
    return b_.data();
  }  // [panels * kPanel] the query terms that stay as they are
  const float* c() const { return c_.data(); }
  // Of the codes of the stored row.
  double scale(int64_t i) const { return scales_[static_cast<size_t>(i)]; }
  const QueryBound& bound(int64_t i) const { return bounds_[static_cast<size_t>(i)]; }
  double norm(int64_t i) const { return norms_[static_cast<size_t>(i)]; }      // sqrt(dot(q, q))
  double square(int64_t i) const { return squares_[static_cast<size_t>(i)]; }  // dot(q, q)

 private:
  void pack(const Kernels& kernels);

  int64_t count_;
  int64_t dim_;
  int d_pad_;
  Metric metric_;
  int64_t most_few_;
  int64_t panel_bytes_;
  AlignedBuffer<float> rows_;
  AlignedBuffer<int8_t> codes_;
  AlignedBuffer<char> panels_;
  AlignedBuffer<float> b_, c_;
  std::vector<int32_t> offsets_;
  std::vector<QueryBound> bounds_;
  std::vector<double> scales_;
  std::vector<double> norms_;
  std::vector<double> squares_;
};

// sqrt(dot(x, x)) where the metric reads it.
inline double row_norm(const Kernels& kernels, const Queries& queries, const float* row) {
  return queries.metric() == Metric::cosine ? std::sqrt(kernels.dot(row, row, queries.dim())) : 0.0;
}

// The canonical score of a pair; row_norm = sqrt(dot(x, x)), read for cosine only.
inline float canonical_score(const Kernels& kernels, const Queries& queries, int64_t query,
                             const float* row, double row_norm) {
  const int64_t d = queries.dim();
  const double dot = kernels.dot(queries.row(query), row, d);
  if (queries.metric() == Metric::cosine) return cosine_score(dot, queries.norm(query), row_norm);
  if (queries.metric() == Metric::dot) return static_cast<float>(dot);
  return l2_score(queries.square(query), kernels.dot(row, row, d), dot);
}

}  // namespace idsim::cpu

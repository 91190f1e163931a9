// The canonical score of a pair, by one warp.
#pragma once

#include "cuda/gallery.hpp"
#include "cuda/warp.cuh"

namespace idsim::cuda {

// slot: one whose row is there (Gallery::there).
template <DType kType>
__device__ inline float warp_score(const Queries::View& queries, const Gallery& gallery,
                                   int64_t query, int64_t slot) {
  const float* q = queries.rows + query * queries.dim;
  const Row<kType> x = row_of<kType>(gallery.rows, gallery.place(slot));
  const double dot = warp_dot(q, x, queries.dim);
  if (queries.metric == Metric::cosine) {
    const double norm = gallery.coded.norm != nullptr ? gallery.coded.norm[slot]
                                                      : std::sqrt(warp_dot(x, x, queries.dim));
    return cosine_score(dot, queries.norms[query], norm);
  }
  if (queries.metric == Metric::dot) return static_cast<float>(dot);
  return l2_score(queries.squares[query], warp_dot(x, x, queries.dim), dot);
}

}  // namespace idsim::cuda

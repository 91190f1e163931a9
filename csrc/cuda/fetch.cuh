// How kernels say which rows they need.
#pragma once

#include "cuda/fetch.hpp"
#include "cuda/pairs.cuh"

namespace idsim::cuda {

// The first to ask for a row gives it a place; which one it gets does not matter.
__device__ inline void mark_row(const RowMarks& marks, int64_t row) {
  if (marks.places[row] >= 0 || atomicMax(&marks.places[row], 0) >= 0) return;
  const auto place = static_cast<int32_t>(atomicAdd(marks.count, 1U));
  marks.rows[place] = static_cast<int32_t>(row);
  marks.places[row] = place;
}

// Marks the rows of the listed pairs that needs(pair).
template <class Needs>
__global__ void mark_pairs(const ListedPair* pairs, const unsigned long long* count, Needs needs,
                           RowMarks marks) {
  const auto n = static_cast<int64_t>(*count);
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) {
    if (needs(pairs[i])) mark_row(marks, pairs[i].slot);
  }
}

}  // namespace idsim::cuda

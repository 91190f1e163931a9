// The pairs that a top-k search cannot rule out, as the tile kernels and the direct scan list them.
#pragma once

#include "core/digits.hpp"
#include "cuda/direct.cuh"
#include "cuda/tile.cuh"
#include "cuda/topk.hpp"

namespace idsim::cuda {

struct Candidate {
  int32_t slot;  // of the slab
  StoredSum dot;
};

template <class Sum>
__device__ void append(const TopK::Filter& filter, int64_t query, int64_t slot, Sum dot) {
  const unsigned at = atomicAdd(&filter.found[query], 1U);
  if (at < filter.capacity) {
    filter.candidates[query * filter.capacity + at] = {static_cast<int32_t>(slot), stored(dot)};
  }
}

// The terms of a slot for queries with so many digits.
__device__ inline RowTerms listed_terms(Metric metric, int digits, const CodedRows& coded,
                                        int64_t slot) {
  const RowTerms x{coded.u[slot], coded.v[slot], metric == Metric::l2 ? coded.w[slot] : 0.0F};
  if (digits == 1 || metric == Metric::cosine) return x;
  return two_digit_terms(metric, x, coded.norm[slot]);
}

// Lists every pair of a tile that its threshold cannot rule out.
template <bool kThree, int kDigits = 1>
struct ListCandidates {
  CodedRows coded;
  Queries::View queries;
  TopK::Filter filter;
  int64_t n_rows;

  __device__ QueryTerms query_terms(int64_t query) const {
    return {filter.a[query], queries.b[query], kThree ? queries.c[query] : 0.0F};
  }
  __device__ RowTerms row_terms(int64_t row) const {
    if constexpr (kDigits == 2) return listed_terms(queries.metric, 2, coded, row);
    return {coded.u[row], coded.v[row], kThree ? coded.w[row] : 0.0F};
  }
  template <class Sum>
  __device__ void keep(int64_t query, int64_t row, Sum dot) const {
    append(filter, query, row, dot);
  }

  template <class P>
  __device__ void operator()(const P& p, int64_t row0, int64_t query0) const {
    // The terms of the rows stay in registers: there are few, whatever the shape.
    RowTerms rows[P::kRowCount][2];
#pragma unroll
    for (int i = 0; i < P::kRowCount; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t row = row0 + p.row(i, 2 * half);
        rows[i][half] = row < n_rows ? row_terms(row) : skipped_row();
      }
    }
#pragma unroll
    for (int j = 0; j < P::kQueryCount; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t query = query0 + p.query(j, e);
        const QueryTerms terms = query_terms(query);
#pragma unroll
        for (int i = 0; i < P::kRowCount; ++i) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const auto dot = p.acc[i][j][2 * half + e];
            if (static_cast<float>(dot) >= row_limit(terms, rows[i][half])) {
              keep(query, row0 + p.row(i, 2 * half), dot);
            }
          }
        }
      }
    }
  }
};

struct ListDirect {
  DirectRows rows;
  Queries::View queries;
  TopK::Filter filter;

  __device__ void operator()(const DirectPair& pair) const {
    const RowTerms x = rows.terms(pair);
    rows.keep(pair, x);
    if (!pair.real) return;
    const QueryTerms terms{filter.a[pair.query], queries.b[pair.query], queries.c[pair.query]};
    if (pair.dot >= row_limit(terms, x)) append(filter, pair.query, pair.row, pair.dot);
  }
};

}  // namespace idsim::cuda

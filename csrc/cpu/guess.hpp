// Guessed thresholds: what a query's k-th best score will be at least, as far as a sample of the gallery can
// tell. A guess only decides how much work is done: a query with fewer than k rows that reach its guess is
// scanned again without it.
#pragma once

#include <cstdint>
#include <functional>

#include "cpu/queries.hpp"
#include "cpu/sample.hpp"

namespace idsim::cpu {

// The place in the sample's order whose score at least k rows of the gallery reach, but for about one query in
// a thousand.
int64_t guess_rank(const SampleRule& rule, int64_t gallery_rows, int64_t k);

// The rows of the sample that are, by their codes, the rank-th best of n queries from `first` (n <= kPanel; 1
// where queries are few); -1 where there are fewer rows or the query has no codes. Rows with
// dropped(query, row of the gallery) do not count.
using Dropped = std::function<bool(int64_t query, int64_t row)>;
void ranked_rows(const Sample& sample, const Queries& queries, int64_t first, int n, int64_t rank,
                 const Kernels& kernels, const Dropped& dropped, int64_t* rows);

}  // namespace idsim::cpu

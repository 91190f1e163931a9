#include "core/device_plan.hpp"

#include <algorithm>

#include "core/bounds.hpp"
#include "core/codes.hpp"
#include "core/slabs.hpp"

namespace idsim {
namespace {

constexpr int64_t kLeastRoom = 1024;
constexpr int64_t kLeastCapacity = 4096;
constexpr int64_t kSampleRows = 16384;
constexpr int64_t kTile = 128;         // queries of a tile
constexpr int64_t kBuffers = 2;        // that parts take turns in
constexpr int64_t kTerms = 3 * 4;      // u, v, w
constexpr int64_t kStats = 4 + 4 + 8;  // scale, residual, norm
constexpr int64_t kMarks = 2 * 4;      // place and number of a row that is asked for
constexpr int64_t kMostKeyBytes = int64_t{64} << 20;
// Rows sent at a time, in one of the two buffers: enough for full transfer speed.
constexpr int64_t kMostFetchBytes = int64_t{16} << 20;

// A query without its lists: float32 row, codes, sum of codes, bound, norm, square, four terms.
int64_t prepared_query_bytes(int64_t dim, Precision precision) {
  return 4 * dim + code_bytes(precision, dim) + 4 + int64_t{sizeof(QueryBound)} + 8 + 8 + 4 * 4;
}

struct QueryBytes {
  int64_t query, candidates, results;
  int64_t all() const { return query + candidates + results; }
};

QueryBytes bytes_of_query(const SearchShape& shape, Precision precision) {
  constexpr int64_t result = 4 + 8;  // score and id
  return {prepared_query_bytes(shape.dim, precision) + shape.query_bytes,
          8 * candidate_capacity(shape.k) + 4, result * (result_room(shape.k) + shape.k) + 4};
}

void share_for_fetching(PartPlan& plan, int64_t slab_rows, int64_t row_bytes, int64_t budget) {
  const int64_t most = std::min(budget / kBuffers, kMostFetchBytes);
  plan.fetched_rows = std::clamp<int64_t>(most / std::max<int64_t>(row_bytes, 1), 1,
                                          std::max<int64_t>(slab_rows, 1));
  plan.fetch_bytes = kBuffers * plan.fetched_rows * row_bytes;
  plan.pinned_bytes += plan.fetch_bytes;
}

}  // namespace

SampleRule device_sample(int64_t gallery_rows, int64_t k) {
  const int64_t count = std::min(std::max(kSampleRows, 32 * k), gallery_rows / 8);
  if (count < 4 * k) return {};
  return {gallery_rows / count, count};
}

// 32 candidates per wanted result: what the first slab lets through while thresholds come from a sample.
int64_t candidate_capacity(int64_t k) { return std::max(kLeastCapacity, kInt8Margins.sample * k); }
int64_t result_room(int64_t k) { return k + std::max(kLeastRoom, k); }

int64_t sampled_tiles(int64_t queries, int64_t sampled, int64_t k) {
  if (sampled == 0) return 0;
  const int64_t bytes = std::min(kMostKeyBytes, queries * candidate_capacity(k) * 8);
  const int64_t tiles = (queries + kTile - 1) / kTile;
  return std::clamp<int64_t>(bytes / (kTile * sampled * 4), 1, std::max<int64_t>(tiles, 1));
}

int64_t sent_code_bytes(int64_t dim) { return padded_dim(dim) + kStats; }
int64_t coded_row_bytes(Precision precision, int64_t dim) {
  const int64_t coded = precision == Precision::float32 ? 0 : kStats + kOrderBytes;
  return code_bytes(precision, dim) + coded + kTerms;
}

Precision planned_precision(const SearchShape& shape) {
  if (shape.form == GalleryForm::host_codes) return Precision::int8;
  const bool read_once =
      shape.form == GalleryForm::device_rows || shape.form == GalleryForm::host_rows;
  return chosen_precision(shape.precision,
                          {shape.queries, shape.k, shape.rows, shape.int8_tensor_cores}, read_once);
}

PartPlan plan_parts(GalleryForm form, int64_t rows, int64_t dim, int64_t row_bytes,
                    Precision precision, int64_t budget) {
  const auto fitting = [&](int64_t bytes_per_row, int64_t bytes) {
    return std::clamp<int64_t>(bytes / bytes_per_row, 1, std::max<int64_t>(rows, 1));
  };
  PartPlan plan;
  switch (form) {
    case GalleryForm::index:
      plan.rows = rows;
      break;
    case GalleryForm::host_index:
      plan.rows = fitting(kMarks, budget / 2);
      plan.part_bytes = plan.rows * kMarks;
      share_for_fetching(plan, plan.rows, row_bytes, budget - plan.part_bytes);
      break;
    case GalleryForm::device_rows:
    case GalleryForm::host_rows: {
      const int64_t sent = form == GalleryForm::host_rows ? kBuffers * row_bytes : 0;
      const int64_t coded = coded_row_bytes(precision, dim);
      plan.rows = fitting(coded + sent, budget);
      plan.part_bytes = plan.rows * (coded + sent);
      plan.pinned_bytes = plan.rows * sent;
      break;
    }
    case GalleryForm::host_codes: {
      const int64_t sent = kBuffers * sent_code_bytes(dim);
      plan.rows = fitting(sent + kTerms + kMarks, budget * 3 / 4);
      plan.part_bytes = plan.rows * (sent + kTerms + kMarks);
      plan.pinned_bytes = plan.rows * sent;
      share_for_fetching(plan, plan.rows, row_bytes, budget - plan.part_bytes);
      break;
    }
  }
  return plan;
}

SearchPlan plan_search(const SearchShape& shape, int64_t budget) {
  SearchPlan plan;
  plan.candidates = candidate_capacity(shape.k);
  plan.precision = planned_precision(shape);
  plan.part =
      plan_parts(shape.form, shape.rows, shape.dim, shape.row_bytes, plan.precision, budget / 4);
  const QueryBytes each = bytes_of_query(shape, plan.precision);
  const int64_t sampled = device_sample(plan.part.rows, shape.k).count;
  const auto fill = [&](int64_t queries) {
    plan.query_chunk = queries;
    plan.query_bytes = queries * each.query;
    plan.candidate_bytes = queries * each.candidates;
    plan.result_bytes = queries * each.results;
    plan.sample_bytes =
        sampled * (code_bytes(plan.precision, shape.dim) + int64_t{sizeof(SampleTerms)} +
                   4 * kTile * sampled_tiles(queries, sampled, shape.k));
    plan.total = plan.query_bytes + plan.candidate_bytes + plan.result_bytes + plan.sample_bytes +
                 plan.part.part_bytes + plan.part.fetch_bytes;
    return plan.total <= budget;
  };
  if (fill(shape.queries)) return plan;
  // The most whole tiles that fit, else the most sets of the least.
  int64_t most = 0;
  for (const int64_t step : {kTile, kLeastQueries}) {
    int64_t fits = 0, too_many = shape.queries / step + 1;
    while (too_many - fits > 1) {
      const int64_t half = (fits + too_many) / 2;
      (fill(half * step) ? fits : too_many) = half;
    }
    most = fits * step;
    if (most > 0) break;
  }
  fill(std::min(kLeastQueries, shape.queries));
  plan.least = plan.total;
  fill(most);
  return plan;
}

IndexPlan plan_index(int64_t rows, int64_t dim, int64_t row_bytes, Precision precision,
                     int64_t budget) {
  IndexPlan plan{rows * coded_row_bytes(precision, dim), rows * row_bytes, false};
  plan.rows_fit = plan.code_bytes + plan.row_bytes <= budget;
  return plan;
}

}  // namespace idsim

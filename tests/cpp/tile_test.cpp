// What the tile kernels decide for whole tiles: the limit of a tile lets every pair pass that its own limit lets pass, is
// close where the rows are alike, and the plans of scans cover every pair once within what the device has.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "check.hpp"
#include "core/bounds.hpp"
#include "core/tile_bound.hpp"
#include "core/tile_plan.hpp"

namespace {

using idsim::Metric;
using idsim::QueryTerms;
using idsim::RowTerms;
using idsim::TileDevice;
using idsim::TileKernel;
using idsim::TilePlan;
using idsim::TileShape;
using idsim::TileTerms;
using idsim::test::expect;
using idsim::test::Random;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kTile = 128;
constexpr Metric kMetrics[] = {Metric::cosine, Metric::dot, Metric::l2};

// The terms of rows with norms and peaks of a wide range, and of all kinds that have none.
std::vector<RowTerms> terms_of_tile(Random& random, Metric metric, double spread) {
  std::vector<RowTerms> rows;
  for (int i = 0; i < kTile; ++i) {
    const double norm = std::exp(spread * static_cast<double>(random.bell()));
    const double peak = 0.02 * std::exp(spread * static_cast<double>(random.uniform()));
    const auto scale = static_cast<float>(norm * peak);
    const auto residual = static_cast<float>(norm * 0.0075 * std::exp(0.1 * spread));
    rows.push_back(idsim::row_terms(metric, scale, residual, norm));
  }
  return rows;
}

TileTerms join_all(const std::vector<RowTerms>& rows) {
  TileTerms all;
  for (const RowTerms& row : rows) all = idsim::joined(all, idsim::tile_terms(row));
  return all;
}

// The products that a pair may have without being ruled out begin at its limit, less what rounding the product to
// float32 may lift it.
int64_t least_of_pair(const QueryTerms& query, const RowTerms& row) {
  const float limit = idsim::row_limit(query, row);
  if (!(limit < 0x1p24F)) return int64_t{1} << 40;
  return static_cast<int64_t>(std::ceil(std::max(limit, -0x1p30F)));
}

void check_tile(Metric metric, const std::vector<RowTerms>& rows, const QueryTerms& query,
                int32_t start, const char* what) {
  const float limit = idsim::tile_limit(query, join_all(rows));
  const int64_t least = int64_t{idsim::least_product(limit, start)} + start;
  for (const RowTerms& row : rows) {
    const int64_t pair = least_of_pair(query, row);
    if (pair > (1 << 24)) continue;  // no product of codes is as large
    // kSlack, which the terms have, is 2^-20 of them; three roundings are 3 * 2^-24.
    const double terms = std::fabs(static_cast<double>(query.a) * static_cast<double>(row.u)) +
                         static_cast<double>(query.b) * static_cast<double>(row.v);
    const double slack = std::isfinite(terms) ? 0x1p-21 * terms : 0.0;
    expect(static_cast<double>(least) <= static_cast<double>(pair) + slack,
           "%s, metric %d: a pair passes from %lld, its tile from %lld", what,
           static_cast<int>(metric), static_cast<long long>(pair), static_cast<long long>(least));
  }
}

void check_bounds(Random& random) {
  for (const Metric metric : kMetrics) {
    for (const double spread : {0.0, 0.01, 0.3, 3.0, 12.0}) {
      std::vector<RowTerms> rows = terms_of_tile(random, metric, spread);
      for (const bool odd : {false, true}) {
        if (odd) {
          rows[3] = idsim::skipped_row();
          rows[70] = idsim::passing_row();
          rows[90] = idsim::row_terms(metric, 1.0F, 0.0F, 0.0);
        }
        for (int i = 0; i < 40; ++i) {
          const float norm = std::exp(static_cast<float>(spread) * random.bell());
          const idsim::QueryBound bound = idsim::query_bound(
              metric, {norm * 0.025F, norm * 0.0075F, static_cast<double>(norm)});
          const float reach = i % 8 == 0 ? -kInfinity : random.bell() * (i % 3 == 0 ? norm : 1.0F);
          const QueryTerms query = idsim::query_terms(metric, bound, reach);
          const int32_t start = random.below(1 << 20) - (1 << 19);
          check_tile(metric, rows, query, start, odd ? "odd rows" : "rows");
        }
        check_tile(metric, rows, idsim::passing_query(), 17, "a query that passes");
      }
    }
  }
}

void check_edges() {
  constexpr int32_t most = std::numeric_limits<int32_t>::max();
  constexpr int32_t least = std::numeric_limits<int32_t>::min();
  const std::vector<RowTerms> skipped(kTile, idsim::skipped_row());
  expect(
      idsim::least_product(idsim::tile_limit(idsim::passing_query(), join_all(skipped)), 5) == most,
      "a tile of rows that never pass passes");
  std::vector<RowTerms> some = skipped;
  some[127] = idsim::passing_row();
  expect(
      idsim::least_product(idsim::tile_limit(idsim::passing_query(), join_all(some)), 5) == least,
      "a row that always passes does not");
  expect(
      idsim::least_product(idsim::tile_limit(idsim::impossible_query(), join_all(some)), 5) == most,
      "a query that no row reaches passes");
  expect(idsim::least_product(std::numeric_limits<float>::quiet_NaN(), 5) == most, "NaN");
  expect(
      idsim::least_product(kInfinity, -7) == most && idsim::least_product(-kInfinity, 7) == least,
      "infinite limits");
  expect(idsim::least_product(-2.5F, 10) == -13 && idsim::least_product(2.5F, -10) == 12,
         "limits are rounded down, and the start is taken off");
}

// Rows in order of u: the limit of a tile is close to those of its rows.
void check_closeness(Random& random) {
  std::vector<RowTerms> rows;
  for (int i = 0; i < 64 * kTile; ++i) {
    const double peak = 3.25 + 0.3 * static_cast<double>(random.bell());  // of rows of 512 elements
    const double scale = peak / std::sqrt(512.0) / 127.0;
    const double residual = scale * std::sqrt(512.0 / 12.0);
    rows.push_back(idsim::row_terms(Metric::cosine, static_cast<float>(scale),
                                    static_cast<float>(residual), 1.0));
  }
  const auto looseness = [&] {
    double sum = 0.0;
    const QueryTerms query = idsim::query_terms(
        Metric::cosine, idsim::query_bound(Metric::cosine, {0.00113F, 0.0074F, 1.0}), 0.2F);
    for (int t = 0; t < 64; ++t) {
      const std::vector<RowTerms> tile(rows.begin() + t * kTile, rows.begin() + (t + 1) * kTile);
      const double limit = static_cast<double>(idsim::tile_limit(query, join_all(tile)));
      for (const RowTerms& row : tile) {
        sum += 1.0 - limit / static_cast<double>(idsim::row_limit(query, row));
      }
    }
    return sum / static_cast<double>(rows.size());
  };
  const double unordered = looseness();
  std::sort(rows.begin(), rows.end(),
            [](const RowTerms& a, const RowTerms& b) { return a.u < b.u; });
  const double ordered = looseness();
  expect(unordered > 0.1 && ordered < 0.01,
         "limits of tiles are %g below those of the rows, %g in order", unordered, ordered);
}

// Every block of queries meets every tile once: the units of a plan, as blocks take them.
void check_cover(const TileShape& shape, const TilePlan& plan) {
  const int64_t tiles = (shape.rows + kTile - 1) / kTile;
  const int64_t pairs = plan.query_blocks / plan.cluster;
  std::vector<int64_t> covered(static_cast<size_t>(plan.query_blocks), 0);
  for (int64_t unit = 0; unit < pairs * plan.splits; ++unit) {
    const int64_t split = unit / pairs;
    const int64_t first = split * tiles / plan.splits, last = (split + 1) * tiles / plan.splits;
    expect(last > first, "a unit without tiles");
    for (int rank = 0; rank < plan.cluster; ++rank) {
      covered[static_cast<size_t>(unit % pairs * plan.cluster + rank)] += last - first;
    }
  }
  expect(std::all_of(covered.begin(), covered.end(), [&](int64_t n) { return n == tiles; }),
         "a block of queries does not meet every tile once");
  expect(plan.query_blocks * plan.block_queries >= shape.queries, "queries are left out");
}

void check_plans() {
  const TileDevice h200{true, 132, 227 * 1024};
  std::set<int> seen;
  for (const int64_t queries : {129, 200, 256, 257, 1000, 4096, 65'536, 100'000}) {
    for (const int64_t rows : {1, 127, 129, 5000, 104'832, 1'000'000, 10'000'000}) {
      for (const int64_t pitch : {64, 128, 512, 640, 768, 1024, 1536, 2048}) {
        const TileShape shape{queries, rows, pitch};
        const TilePlan plan = idsim::plan_tiles(shape, h200);
        expect(plan.kernel == TileKernel::groups, "not groups");
        expect(plan.shared_bytes <= h200.shared_bytes && plan.stages >= idsim::kLeastStages,
               "pitch %lld: %lld bytes, %d stages", static_cast<long long>(pitch),
               static_cast<long long>(plan.shared_bytes), plan.stages);
        expect(plan.cluster * plan.block_queries == 256 && plan.query_blocks % plan.cluster == 0 &&
                   plan.blocks % plan.cluster == 0 && plan.blocks <= h200.multiprocessors,
               "clusters");
        check_cover(shape, plan);
        seen.insert(plan.block_queries);
      }
    }
  }
  expect(seen == std::set<int>{64, 128, 256}, "a size of blocks is never chosen");
  const auto plan_of = [&](int64_t queries, int64_t rows, int64_t pitch) {
    return idsim::plan_tiles({queries, rows, pitch}, h200);
  };
  expect(plan_of(128, 1'000'000, 512).kernel == TileKernel::rows, "few queries");
  expect(plan_of(200, 1'000'000, 4096).kernel == TileKernel::tiles, "queries that do not fit");
  expect(idsim::plan_tiles({4096, 1'000'000, 512}, {false, 132, 227 * 1024}).kernel ==
             TileKernel::tiles,
         "no products of warp groups");
  // All multiprocessors have work to the end: 256 blocks of queries take two turns of 132 unsplit, 4 are split.
  const TilePlan many = plan_of(65'536, 10'000'000, 512), few = plan_of(1024, 10'000'000, 512);
  expect(many.block_queries == 256 && many.stages == 6 && many.blocks == 132, "many queries");
  expect(few.query_blocks == 4 && few.splits % 33 == 0, "%lld shares",
         static_cast<long long>(few.splits));
}

// Where two digits fit, the row scan has its queries in shared memory with both, and the columns of its fragments are theirs.
void check_two_digits() {
  constexpr int64_t shared = 99 * 1024;
  for (int64_t queries = 1; queries <= idsim::kMostTwoDigits; ++queries) {
    const int64_t columns = 2 * idsim::digit_columns(queries);
    expect(columns >= 2 * queries && columns == 8 * idsim::few_fragments(columns) &&
               columns <= idsim::kMostFewQueries,
           "%lld queries: %lld columns", static_cast<long long>(queries),
           static_cast<long long>(columns));
    const int64_t most = shared / columns;
    expect(idsim::two_digits_fit(queries, most, shared) &&
               !idsim::two_digits_fit(queries, most + 1, shared),
           "%lld queries: not as many bytes as fit", static_cast<long long>(queries));
    expect(idsim::plan_tiles({queries, 1000, most}, {true, 132, shared}).kernel == TileKernel::rows,
           "%lld queries are not few", static_cast<long long>(queries));
  }
  expect(!idsim::two_digits_fit(idsim::kMostTwoDigits + 1, 64, shared), "too many queries");
}

}  // namespace

int main() {
  Random random(5);
  check_bounds(random);
  check_edges();
  check_closeness(random);
  check_plans();
  check_two_digits();
  return idsim::test::finish("tile_test");
}

// The certified filter of core/bounds.hpp never drops a pair that it must keep: for every pair of random and
// adversarial rows, with the pair's own canonical score as the reach, the float32 test of the tile kernels
// passes, whether or not the kernel fuses its operations. And it does drop what is far below. The range of
// scores that codes allow holds the canonical one, with one digit of the query or two. So does the float32 test with
// two digits, whose margin is half as wide.
#include <limits>
#include <vector>

#include "check.hpp"
#include "core/bounds.hpp"
#include "core/digits.hpp"
#include "core/nibbles.hpp"
#include "core/score.hpp"
#include "cpu/isa.hpp"

namespace {

using idsim::Metric;
using idsim::QueryBound;
using idsim::QueryTerms;
using idsim::RowStats;
using idsim::RowTerms;
using idsim::test::Buffer;
using idsim::test::expect;
using idsim::test::Random;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Metric kMetrics[] = {Metric::cosine, Metric::dot, Metric::l2};
constexpr const char* kNames[] = {"cosine", "dot", "l2"};

struct Embedding {
  Buffer<float> x;
  Buffer<uint8_t> code;
  RowStats stats;

  explicit Embedding(const std::vector<float>& values)
      : x(static_cast<int64_t>(values.size())), code(idsim::padded_dim(x.size())) {
    std::copy(values.begin(), values.end(), x.data());
    stats = idsim::cpu::portable_kernels().quantize_row(x.data(), x.size(), code.data());
  }
};

int32_t integer_dot(const Embedding& q, const Embedding& x) {
  int32_t sum = 0;
  for (int64_t i = 0; i < q.code.size(); ++i) sum += (q.code[i] - 128) * (x.code[i] - 128);
  return sum;
}

float canonical(Metric metric, const Embedding& q, const Embedding& x) {
  const int64_t d = q.x.size();
  const double dot = idsim::dot_reference(q.x.data(), x.x.data(), d);
  if (metric == Metric::cosine) return idsim::cosine_score(dot, q.stats.norm, x.stats.norm);
  if (metric == Metric::dot) return static_cast<float>(dot);
  const double qq = idsim::dot_reference(q.x.data(), q.x.data(), d);
  return idsim::l2_score(qq, idsim::dot_reference(x.x.data(), x.x.data(), d), dot);
}

bool passes(float dot, const RowTerms& row, const QueryTerms& query) {
  return dot >= idsim::row_limit(query, row);
}

bool passes_fused(float dot, const RowTerms& row, const QueryTerms& query) {
  const float bound = std::fma(query.a, row.u, std::fma(query.c, row.w, -(query.b * row.v)));
  return dot >= bound;
}

struct Pair {
  const Embedding& query;
  const Embedding& row;
  int32_t dot;
};

// A reach that is met more easily: lower similarities, larger distances.
float easier(Metric metric, float reach, float by) {
  return metric == Metric::l2 ? reach + by : reach - by;
}

bool inside(Metric metric, const idsim::ScoreRange& range, float score) {
  return metric == Metric::l2 ? range.possible <= score && score <= range.certain
                              : range.certain <= score && score <= range.possible;
}

// A query's bound by two digits, and the product of the second one with a row.
struct Fine {
  QueryBound bound;
  int32_t rest;
};

Fine second_digits(Metric metric, const Pair& pair) {
  const RowStats& stats = pair.query.stats;
  const int64_t d_pad = pair.query.code.size();
  std::vector<int8_t> coarse(static_cast<size_t>(d_pad)), fine(static_cast<size_t>(d_pad));
  for (int64_t i = 0; i < d_pad; ++i) {
    coarse[static_cast<size_t>(i)] = static_cast<int8_t>(pair.query.code[i] - 128);
  }
  const QueryBound bound = idsim::fine_digits(pair.query.x.data(), pair.query.x.size(), d_pad,
                                              coarse.data(), static_cast<double>(stats.scale),
                                              idsim::query_bound(metric, stats), fine.data());
  const int32_t rest = idsim::cpu::portable_kernels().dot_i8(pair.row.code.data(), fine.data(),
                                                             static_cast<int>(d_pad));
  return {bound, rest};
}

// The range by two digits of the query.
idsim::ScoreRange fine_range(Metric metric, const Pair& pair) {
  const auto [bound, rest] = second_digits(metric, pair);
  const RowStats& row = pair.row.stats;
  const idsim::ProductRange product =
      idsim::product_range(metric, bound, row.scale, row.residual, row.norm,
                           static_cast<double>(idsim::two_digits(pair.dot, rest)));
  return {idsim::certain_score(metric, bound, product),
          idsim::possible_score(metric, bound, product)};
}

// A query and a row as the float32 test with two digits has them.
struct FineTest {
  float dot;
  RowTerms row;
  QueryBound bound;
};

FineTest fine_test(Metric metric, const Pair& pair, const RowTerms& row) {
  auto [bound, rest] = second_digits(metric, pair);
  bound.share = idsim::kTwoDigitShare;
  return {idsim::two_digits_rounded(pair.dot, rest),
          idsim::two_digit_terms(metric, row, pair.row.stats.norm), bound};
}

void check_pair(Metric metric, const Pair& pair, const char* what) {
  const char* name = kNames[static_cast<int>(metric)];
  const RowStats& row = pair.row.stats;
  const RowTerms terms = idsim::row_terms(metric, row.scale, row.residual, row.norm);
  const QueryBound bound = idsim::query_bound(metric, pair.query.stats);
  const FineTest fine = fine_test(metric, pair, terms);
  const auto dot = static_cast<float>(pair.dot);
  const float score = canonical(metric, pair.query, pair.row);
  const auto d = static_cast<long>(pair.query.x.size());
  for (const float reach :
       {score, easier(metric, score, 0.0F), easier(metric, score, std::fabs(score) * 0x1p-22F),
        easier(metric, score, 0.5F), easier(metric, 0.0F, kInfinity)}) {
    const bool reaches = metric == Metric::l2 ? score <= reach : score >= reach;
    if (!reaches) continue;  // a reach of NaN, from infinite scores
    const QueryTerms query = idsim::query_terms(metric, bound, reach);
    expect(passes(dot, terms, query), "%s, %s, d = %ld: score %a, reach %a, dropped", what, name, d,
           static_cast<double>(score), static_cast<double>(reach));
    expect(passes_fused(dot, terms, query), "%s, %s, d = %ld: score %a, reach %a, dropped (fused)",
           what, name, d, static_cast<double>(score), static_cast<double>(reach));
    const QueryTerms by_two = idsim::query_terms(metric, fine.bound, reach);
    expect(passes(fine.dot, fine.row, by_two) && passes_fused(fine.dot, fine.row, by_two),
           "%s, %s, d = %ld: score %a, reach %a, dropped (two digits)", what, name, d,
           static_cast<double>(score), static_cast<double>(reach));
  }
  const idsim::ScoreRange range =
      idsim::score_range(metric, bound, row.scale, row.residual, row.norm, pair.dot);
  for (const idsim::ScoreRange& r : {range, fine_range(metric, pair)}) {
    expect(inside(metric, r, score), "%s, %s, d = %ld: the score %a is not between %a and %a", what,
           name, d, static_cast<double>(score), static_cast<double>(r.certain),
           static_cast<double>(r.possible));
  }
}

void check_pairs(const std::vector<Embedding>& queries, const std::vector<Embedding>& rows,
                 const char* what) {
  for (const Embedding& query : queries) {
    for (const Embedding& row : rows) {
      const Pair pair{query, row, integer_dot(query, row)};
      for (const Metric metric : kMetrics) check_pair(metric, pair, what);
    }
  }
}

std::vector<float> random_values(Random& random, int d, float scale) {
  std::vector<float> values(static_cast<size_t>(d));
  for (float& value : values) value = random.bell() * scale;
  return values;
}

std::vector<Embedding> random_rows(Random& random, int d, int n) {
  std::vector<Embedding> rows;
  for (int i = 0; i < n; ++i)
    rows.emplace_back(random_values(random, d, std::ldexp(1.0F, random.below(40) - 20)));
  return rows;
}

std::vector<Embedding> special_rows(Random& random, int d) {
  std::vector<Embedding> rows;
  for (const float value : {0.0F, 1.0F, -1.0F, 1e-45F, 1e-30F, 1e30F, 3e38F, 0x1p-40F, 0x1p40F}) {
    rows.emplace_back(std::vector<float>(static_cast<size_t>(d), value));
  }
  for (const float outlier : {20.0F, 1e6F, 1e20F, 0.0F}) {
    std::vector<float> values = random_values(random, d, outlier == 0.0F ? 0.0F : 1.0F);
    values.back() = outlier == 0.0F ? 1.0F : outlier;
    rows.emplace_back(values);
  }
  return rows;
}

std::vector<Embedding> neighbours(Random& random, const Embedding& row, int n) {
  std::vector<Embedding> rows;
  for (int i = 0; i < n; ++i) {
    std::vector<float> values(row.x.data(), row.x.data() + row.x.size());
    for (float& value : values)
      value += value * random.uniform() * std::ldexp(1.0F, -random.below(24));
    rows.emplace_back(values);
  }
  return rows;
}

// Rows whose residual lies along the row: the Cauchy-Schwarz bound is then met, with `lost` of a step in
// every element but the one that sets the scale.
Embedding tight_row(Random& random, const std::vector<float>& signs, float lost) {
  const float size = static_cast<float>(20 + random.below(100)) + lost;
  const float scale = 1.0F + 0.9F * random.uniform();
  std::vector<float> values(signs.size());
  for (size_t i = 0; i < signs.size(); ++i) values[i] = signs[i] * size * scale;
  values[0] = signs[0] * 127.0F * scale;
  return Embedding(values);
}

void check_tight(Random& random, int d) {
  std::vector<float> signs(static_cast<size_t>(d));
  for (float& sign : signs) sign = random.below(2) == 0 ? 1.0F : -1.0F;
  for (const float lost : {0.4999F, -0.4999F, 0.499999F, 0.25F}) {
    std::vector<Embedding> queries, rows;
    for (int i = 0; i < 8; ++i) {
      queries.push_back(tight_row(random, signs, lost));
      rows.push_back(tight_row(random, signs, lost));
      for (float& sign : signs) sign = -sign;
    }
    queries.emplace_back(signs);  // nothing lost: one side of the bound alone
    rows.emplace_back(signs);
    check_pairs(queries, rows, "residuals along the rows");
  }
}

// The filter must be worth having: of random unit rows, few pairs pass at a reach that none attains.
void check_selective(Random& random) {
  constexpr int kDim = 512;
  constexpr int kCount = 60;
  std::vector<Embedding> rows;
  for (int i = 0; i < kCount; ++i) {
    std::vector<float> values = random_values(random, kDim, 1.0F);
    double squares = 0.0;
    for (const float value : values)
      squares += static_cast<double>(value) * static_cast<double>(value);
    for (float& value : values) value /= static_cast<float>(std::sqrt(squares));
    rows.emplace_back(values);
  }
  const float reach[] = {0.3F, 0.3F, 1.15F};
  for (const Metric metric : kMetrics) {
    int passed = 0;
    for (int i = 0; i < kCount; ++i) {
      const QueryBound bound = idsim::query_bound(metric, rows[static_cast<size_t>(i)].stats);
      const QueryTerms query = idsim::query_terms(metric, bound, reach[static_cast<int>(metric)]);
      for (int j = 0; j < i; ++j) {
        const Embedding& row = rows[static_cast<size_t>(j)];
        const RowTerms terms =
            idsim::row_terms(metric, row.stats.scale, row.stats.residual, row.stats.norm);
        const auto dot = static_cast<float>(integer_dot(rows[static_cast<size_t>(i)], row));
        passed += passes(dot, terms, query) ? 1 : 0;
      }
    }
    expect(passed == 0, "%s: %d of %d pairs far below the reach pass",
           kNames[static_cast<int>(metric)], passed, kCount * (kCount - 1) / 2);
  }
}

// The second digit takes the query's residual, half of the margin, out of the range.
void check_second_digit(Random& random) {
  const std::vector<Embedding> rows = random_rows(random, 512, 40);
  double coarse = 0.0, fine = 0.0;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Pair pair{rows[i], rows[j], integer_dot(rows[i], rows[j])};
      const RowStats& row = rows[j].stats;
      const idsim::ScoreRange one =
          idsim::score_range(Metric::cosine, idsim::query_bound(Metric::cosine, rows[i].stats),
                             row.scale, row.residual, row.norm, pair.dot);
      const idsim::ScoreRange two = fine_range(Metric::cosine, pair);
      coarse += static_cast<double>(one.possible - one.certain);
      fine += static_cast<double>(two.possible - two.certain);
    }
  }
  expect(fine < 0.53 * coarse, "two digits leave %g of the range", fine / coarse);
}

// How far a test lets a pair fall short of its reach: of q.x, in the metric's scaling.
double slack_of_test(Metric metric, const Pair& pair, const QueryBound& bound, const RowTerms& row,
                     float reach) {
  const double unit = metric == Metric::cosine ? 1.0 / pair.row.stats.norm : 1.0;
  const double norm = pair.row.stats.norm * unit, t = static_cast<double>(reach);
  const double needed =
      metric == Metric::l2 ? 0.5 * (bound.norm * bound.norm + norm * norm - t * t) : t;
  const float limit = idsim::row_limit(idsim::query_terms(metric, bound, reach), row);
  return needed - static_cast<double>(limit) * bound.scale *
                      (static_cast<double>(pair.row.stats.scale) * unit);
}

// So does it in the float32 test, for every metric.
void check_second_digit_of_test(Random& random) {
  std::vector<Embedding> rows;
  for (int i = 0; i < 40; ++i) rows.emplace_back(random_values(random, 512, 1.0F));
  for (const Metric metric : kMetrics) {
    double coarse = 0.0, fine = 0.0;
    for (size_t i = 1; i < rows.size(); ++i) {
      const Pair pair{rows[i], rows[i - 1], integer_dot(rows[i], rows[i - 1])};
      const RowStats& row = pair.row.stats;
      const RowTerms terms = idsim::row_terms(metric, row.scale, row.residual, row.norm);
      const FineTest test = fine_test(metric, pair, terms);
      const float reach = canonical(metric, pair.query, pair.row);
      coarse +=
          slack_of_test(metric, pair, idsim::query_bound(metric, pair.query.stats), terms, reach);
      fine += slack_of_test(metric, pair, test.bound, test.row, reach);
    }
    expect(fine < 0.53 * coarse, "%s: two digits leave %g of what the test lets pass",
           kNames[static_cast<int>(metric)], fine / coarse);
  }
}

// Rows with NaN or Inf never pass, whatever the query.
void check_skipped() {
  for (const float odd : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    const Embedding row({1.0F, odd, 2.0F});
    for (const Metric metric : kMetrics) {
      const RowTerms terms =
          idsim::row_terms(metric, row.stats.scale, row.stats.residual, row.stats.norm);
      for (const float value : {0.0F, 1.0F, 1e-44F, 1e38F}) {
        const Embedding query({value, 0.0F, 0.0F});
        const QueryBound bound = idsim::query_bound(metric, query.stats);
        const QueryTerms least = idsim::query_terms(metric, bound, easier(metric, 0.0F, kInfinity));
        const RowTerms by_two = idsim::two_digit_terms(metric, terms, row.stats.norm);
        expect(
            !passes(0, terms, least) && !passes_fused(0, terms, least) && !passes(0, by_two, least),
            "a row with %g passes", static_cast<double>(odd));
      }
    }
  }
}

}  // namespace

int main() {
  Random random(3);
  for (const int d : {1, 2, 3, 16, 33, 70, 128, 512, 2000}) {
    const std::vector<Embedding> queries = random_rows(random, d, 12);
    const std::vector<Embedding> special = special_rows(random, d);
    check_pairs(queries, random_rows(random, d, 60), "random");
    check_pairs(queries, special, "random and special");
    check_pairs(special, special, "special");
    for (const Embedding& query : queries) {
      std::vector<Embedding> one;
      one.emplace_back(std::vector<float>(query.x.data(), query.x.data() + d));
      check_pairs(one, neighbours(random, query, 12), "near duplicates");
    }
    check_tight(random, d);
  }
  check_selective(random);
  check_second_digit(random);
  check_second_digit_of_test(random);
  check_skipped();
  return idsim::test::finish("bounds_test");
}

// The 16-bit codes of core/half.hpp: what they hold, that sums of their products keep within what is set aside for them,
// under adders that cut instead of rounding and vectors made to suffer most, and that the filter drops no pair that it must
// keep. And when a scan uses them (core/precision.hpp).
#include <vector>

#include "check.hpp"
#include "core/bounds.hpp"
#include "core/half.hpp"
#include "core/precision.hpp"
#include "core/score.hpp"
#include "core/widen.hpp"
#include "tensor_sum.hpp"

namespace {

using idsim::Metric;
using idsim::Precision;
using idsim::QueryBound;
using idsim::RowStats;
using idsim::test::expect;
using idsim::test::Random;
using Values = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Metric kMetrics[] = {Metric::cosine, Metric::dot, Metric::l2};

struct Coded {
  Values x;
  std::vector<uint16_t> code;
  RowStats row, query;
  double coded_norm = 0.0;  // of s c
};

Coded coded(const Values& x) {
  const auto d = static_cast<int64_t>(x.size());
  Coded out{x, std::vector<uint16_t>(static_cast<size_t>(idsim::padded_dim(d))), {}, {}};
  float most = 0.0F;
  for (const float value : x) most = std::max(most, std::fabs(value));
  const double square = idsim::dot_reference(x.data(), x.data(), d);
  const bool usable = idsim::has_codes(most, std::sqrt(square));
  const float scale = usable ? idsim::half_scale(most) : 1.0F;
  double lost = 0.0, kept = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (usable) out.code[i] = idsim::half_code(x[i] / scale);
    const auto held = static_cast<double>(scale * idsim::widen_f16(out.code[i]));
    const double difference = static_cast<double>(x[i]) - held;
    lost += difference * difference;
    kept += held * held;
  }
  out.row = idsim::half_stats(lost, most, square, d, idsim::half_sum_error(d));
  out.query = idsim::half_stats(lost, most, square, d, 0.0);
  out.coded_norm = std::sqrt(kept);
  return out;
}

std::vector<float> products(const Coded& q, const Coded& x) {
  std::vector<float> out(q.code.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = idsim::widen_f16(q.code[i]) * idsim::widen_f16(x.code[i]);
  }
  return out;
}

// The sum as an adder makes it that takes `block` products at a time; 0: float32 additions, one by one.
float sum_of(const std::vector<float>& terms, int block) {
  float sum = 0.0F;
  if (block == 0) {
    for (const float term : terms) sum += term;
    return sum;
  }
  for (size_t i = 0; i < terms.size(); i += static_cast<size_t>(block)) {
    sum = emulator::truncating_sum(sum, terms.data() + i, block);
  }
  return sum;
}

constexpr int kAdders[] = {0, 2, 4, 8, 16};

void check_codes(Random& random) {
  for (uint32_t bits = 0x0400U; bits < 0x5C00U; ++bits) {  // 2^-14 to 2^8
    const float value = idsim::widen_f16(static_cast<uint16_t>(bits));
    expect(idsim::half_code(value) == bits && idsim::half_code(-value) == (bits | 0x8000U),
           "the code of %a is not itself", static_cast<double>(value));
    const float next = idsim::widen_f16(static_cast<uint16_t>(bits + 1));
    const float middle = 0.5F * (value + next);
    const auto even = static_cast<uint16_t>(bits + (bits & 1U));
    expect(idsim::half_code(middle) == even, "%a is not rounded to even",
           static_cast<double>(middle));
    expect(idsim::half_code(std::nextafter(middle, 0.0F)) == bits &&
               idsim::half_code(std::nextafter(middle, kInfinity)) == bits + 1,
           "%a is not rounded to the nearest", static_cast<double>(middle));
  }
  expect(idsim::half_code(0.0F) == 0 && idsim::half_code(-0x1.FFFFFEp-15F) == 0,
         "a code is a subnormal");
  for (int i = 0; i < 1000; ++i) {
    const float most =
        std::ldexp(1.0F + 0.999F * std::fabs(random.uniform()), random.below(80) - 40);
    const float scaled = most / idsim::half_scale(most);
    expect(scaled >= 0x1p7F && scaled < 0x1p8F, "%a is scaled to %a", static_cast<double>(most),
           static_cast<double>(scaled));
  }
}

// Vectors that make adders lose: of one sign, a large product first and then many that are cut off whole or almost
// whole, codes of all ones, decaying and growing ones.
std::vector<Values> hard_vectors(Random& random, int d) {
  std::vector<Values> out;
  const auto add = [&](auto value) {
    Values x(static_cast<size_t>(d));
    for (int i = 0; i < d; ++i) x[static_cast<size_t>(i)] = value(i);
    out.push_back(x);
  };
  add([](int) { return 1.0F; });
  add([](int) { return 0x1.FFCp0F; });  // all ones as a float16
  add([](int i) {
    return i == 0 ? 1.0F : 0x1.FFCp-13F;
  });  // products just below the unit of the first
  add([](int i) { return i == 0 ? 1.0F : 0x1.6ACp-12F; });  // and just below two
  add([](int i) { return i == 0 ? 0x1.004p0F : 0x1.FFCp-12F; });
  add([d](int i) { return std::ldexp(1.0F, -12 * i / d); });
  add([d](int i) { return std::ldexp(1.0F, -12 * (d - 1 - i) / d); });
  add([](int i) { return i % 4 == 0 ? 1.0F : 0x1.FFCp-11F; });
  add([&](int) { return 0.5F + 0.5F * std::fabs(random.uniform()); });
  add([&](int) { return std::fabs(random.bell()); });
  add([&](int) { return random.bell(); });
  add([&](int i) { return i % 2 == 0 ? 1.0F : -0x1.FFCp-1F; });
  return out;
}

double worst_share = 0.0;

void check_sums(const Coded& q, const Coded& x) {
  const std::vector<float> terms = products(q, x);
  double exact = 0.0;
  for (const float term : terms) exact += static_cast<double>(term);
  const double scale = static_cast<double>(q.row.scale) * static_cast<double>(x.row.scale);
  const auto d = static_cast<int64_t>(q.x.size());
  const double allowed = idsim::half_sum_error(d) * q.coded_norm * x.coded_norm;
  for (const int block : kAdders) {
    const double error = scale * std::fabs(static_cast<double>(sum_of(terms, block)) - exact);
    if (allowed > 0.0) worst_share = std::max(worst_share, error / allowed);
    expect(error <= allowed, "d = %lld, %d products at a time: off by %g, allowed %g",
           static_cast<long long>(d), block, error, allowed);
  }
}

float canonical(Metric metric, const Coded& q, const Coded& x) {
  const auto d = static_cast<int64_t>(q.x.size());
  const double dot = idsim::dot_reference(q.x.data(), x.x.data(), d);
  if (metric == Metric::cosine) return idsim::cosine_score(dot, q.row.norm, x.row.norm);
  if (metric == Metric::dot) return static_cast<float>(dot);
  const double qq = idsim::dot_reference(q.x.data(), q.x.data(), d);
  return idsim::l2_score(qq, idsim::dot_reference(x.x.data(), x.x.data(), d), dot);
}

bool passes(Metric metric, const Coded& q, const Coded& x, float sum, float reach) {
  const QueryBound bound = idsim::query_bound(metric, q.query, idsim::kHalfQueryShare);
  return sum >= idsim::row_limit(idsim::query_terms(metric, bound, reach),
                                 idsim::row_terms(metric, x.row.scale, x.row.residual, x.row.norm,
                                                  idsim::kHalfQueryShare));
}

void check_filter(const Coded& q, const Coded& x) {
  const std::vector<float> terms = products(q, x);
  for (const Metric metric : kMetrics) {
    const float score = canonical(metric, q, x);
    const QueryBound bound = idsim::query_bound(metric, q.query, idsim::kHalfQueryShare);
    for (const int block : kAdders) {
      const float sum = sum_of(terms, block);
      if (std::isfinite(score)) {
        expect(passes(metric, q, x, sum, score), "metric %d, d = %zu: score %a dropped",
               static_cast<int>(metric), q.x.size(), static_cast<double>(score));
      }
      const idsim::ScoreRange range = idsim::score_range(metric, bound, x.row.scale, x.row.residual,
                                                         x.row.norm, static_cast<double>(sum));
      const bool l2 = metric == Metric::l2;
      expect((l2 ? range.possible : range.certain) <= score &&
                 score <= (l2 ? range.certain : range.possible),
             "metric %d, d = %zu: score %a is not between %a and %a", static_cast<int>(metric),
             q.x.size(), static_cast<double>(score), static_cast<double>(range.certain),
             static_cast<double>(range.possible));
    }
  }
}

void check_pairs(const std::vector<Values>& vectors) {
  std::vector<Coded> rows;
  for (const Values& x : vectors) rows.push_back(coded(x));
  for (const Coded& q : rows) {
    for (const Coded& x : rows) {
      if (q.query.residual < q.query.norm && x.row.residual < x.row.norm) check_sums(q, x);
      check_filter(q, x);
    }
  }
}

std::vector<Values> special_vectors(Random& random, int d) {
  std::vector<Values> out;
  for (const float value : {0.0F, 1e-45F, 1e-30F, 1e30F, 3e38F, 0x1p-40F, 0x1p40F, -1.0F}) {
    out.emplace_back(static_cast<size_t>(d), value);
  }
  for (const float outlier : {20.0F, 1e6F, 1e20F}) {
    Values x(static_cast<size_t>(d));
    for (float& value : x) value = random.bell();
    x.back() = outlier;
    out.push_back(x);
  }
  return out;
}

// Of random unit rows no pair passes at a reach 1e-3 beyond its score: the filter is 20 times as fine as that of 8 bits.
void check_selective(Random& random) {
  std::vector<Coded> rows;
  for (int i = 0; i < 40; ++i) {
    Values x(512);
    double square = 0.0;
    for (float& value : x) {
      value = random.bell();
      square += static_cast<double>(value) * static_cast<double>(value);
    }
    for (float& value : x) value /= static_cast<float>(std::sqrt(square));
    rows.push_back(coded(x));
  }
  for (const Metric metric : kMetrics) {
    int passed = 0;
    for (const Coded& q : rows) {
      for (const Coded& x : rows) {
        if (&q == &x) continue;
        const float score = canonical(metric, q, x);
        const float reach = metric == Metric::l2 ? score - 1e-3F : score + 1e-3F;
        passed += passes(metric, q, x, sum_of(products(q, x), 4), reach) ? 1 : 0;
      }
    }
    expect(passed == 0, "metric %d: %d pairs 1e-3 below the reach pass", static_cast<int>(metric),
           passed);
  }
}

void check_choice() {
  const auto choice = [](int64_t queries, int64_t k, int64_t rows, bool int8 = true) {
    return idsim::chosen_precision(Precision::automatic, {queries, k, rows, int8}, false);
  };
  expect(choice(4096, 10, 1'000'000) == Precision::int8, "small k");
  expect(choice(4096, 100, 1'000'000) == Precision::int8, "k / rows = 1e-4");
  expect(choice(4096, 1000, 1'000'000) == Precision::float16, "k / rows = 1e-3");
  expect(choice(4096, 1000, 10'000'000) == Precision::int8, "k / rows = 1e-4, more rows");
  expect(choice(1, 1000, 1'000'000) == Precision::int8, "one query reads the codes alone");
  expect(choice(1, 100'000, 1'000'000) == Precision::float16, "one query and many results");
  expect(choice(4096, 1000, 1000) == Precision::int8, "every row is a result");
  expect(choice(4096, 0, 1'000'000) == Precision::int8, "fixed thresholds");
  expect(choice(4096, 0, 1'000'000, false) == Precision::float16, "no int8 tensor cores");
  expect(choice(0, 10, 0) == Precision::int8, "nothing to do");
  expect(idsim::chosen_precision(Precision::int8, {4096, 1000, 1'000'000, false}, true) ==
             Precision::int8,
         "what is asked for");
  for (const int64_t queries : {1, 8, 9}) {
    const Precision read_once =
        idsim::chosen_precision(Precision::automatic, {queries, 10, 1'000'000, true}, true);
    expect((read_once == Precision::float32) == (queries <= 8), "%lld queries over rows read once",
           static_cast<long long>(queries));
  }
  expect(!idsim::has_int8_tensor_cores(10, 3) && idsim::has_int8_tensor_cores(10, 0) &&
             idsim::has_int8_tensor_cores(12, 0) && idsim::has_int8_tensor_cores(8, 0),
         "which chips have int8 tensor cores");
}

}  // namespace

int main() {
  Random random(7);
  check_codes(random);
  for (const int d : {1, 2, 3, 16, 33, 128, 512, 2000}) {
    check_pairs(hard_vectors(random, d));
    check_pairs(special_vectors(random, d));
  }
  std::printf("sums: at most %.2f of what is allowed\n", worst_share);
  expect(worst_share > 0.3, "no vector comes near the bound: %g", worst_share);
  check_selective(random);
  check_choice();
  return idsim::test::finish("half_test");
}

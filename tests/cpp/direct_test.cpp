// The filter of core/direct.hpp: whatever the row, the float32 sums never drop a pair whose canonical score reaches the
// threshold, and a sample claims no more than the canonical score.
#include <array>
#include <vector>

#include "check.hpp"
#include "core/direct.hpp"
#include "core/score.hpp"

namespace {

using idsim::Metric;
using idsim::QueryBound;
using idsim::test::expect;
using idsim::test::Random;
using Values = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Metric kMetrics[] = {Metric::cosine, Metric::dot, Metric::l2};

// As the kernel sums: 32 partial sums, folded by halves.
float float_dot(const Values& a, const Values& b, bool fused) {
  std::array<float, 32> lanes{};
  for (size_t i = 0; i < a.size(); ++i) {
    float& lane = lanes[i % 32];
    if (fused) {
      lane = std::fma(a[i], b[i], lane);
    } else {
      lane += a[i] * b[i];
    }
  }
  for (size_t width = 16; width > 0; width /= 2) {
    for (size_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

double exact_dot(const Values& a, const Values& b) {
  return idsim::dot_reference(a.data(), b.data(), static_cast<int64_t>(a.size()));
}

float canonical(Metric metric, const Values& q, const Values& x) {
  const double dot = exact_dot(q, x), qq = exact_dot(q, q), xx = exact_dot(x, x);
  if (metric == Metric::cosine) return idsim::cosine_score(dot, std::sqrt(qq), std::sqrt(xx));
  return metric == Metric::dot ? static_cast<float>(dot) : idsim::l2_score(qq, xx, dot);
}

void check_pair(const Values& q, const Values& x) {
  const float error = idsim::direct_error(static_cast<int64_t>(q.size()));
  for (const Metric metric : kMetrics) {
    const float score = canonical(metric, q, x);
    const QueryBound bound = idsim::direct_query(metric, std::sqrt(exact_dot(q, q)));
    for (const bool fused : {false, true}) {
      const float dot = idsim::direct_dot(float_dot(q, x, fused)), square = float_dot(x, x, fused);
      const idsim::RowTerms row = idsim::direct_terms(metric, square, error);
      const float easier = metric == Metric::l2 ? 0.5F : -0.5F;
      for (const float reach : {score, score + easier, score * (1.0F + easier * 0x1p-22F),
                                metric == Metric::l2 ? kInfinity : -kInfinity}) {
        const bool reaches = metric == Metric::l2 ? score <= reach : score >= reach;
        if (!reaches) continue;
        expect(dot >= idsim::row_limit(idsim::query_terms(metric, bound, reach), row),
               "metric %d, d = %zu: score %a, reach %a, dropped", static_cast<int>(metric),
               q.size(), static_cast<double>(score), static_cast<double>(reach));
      }
      if (!bound.coded) continue;
      const float key = idsim::certain_key(idsim::key_terms(bound),
                                           idsim::direct_sample_terms(metric, square, error), dot);
      if (!(key > -kInfinity)) continue;
      const float claim = idsim::score_of_key(metric, bound, key);
      expect(metric == Metric::l2 ? score <= claim : score >= claim,
             "metric %d, d = %zu: a sample claims %a of the score %a", static_cast<int>(metric),
             q.size(), static_cast<double>(claim), static_cast<double>(score));
    }
  }
}

std::vector<Values> vectors(Random& random, size_t d) {
  std::vector<Values> out;
  const auto add = [&](auto value) {
    Values x(d);
    for (size_t i = 0; i < d; ++i) x[i] = value(i);
    out.push_back(x);
  };
  for (int i = 0; i < 12; ++i) {
    const float scale = std::ldexp(1.0F, random.below(60) - 30);
    add([&](size_t) { return scale * random.bell(); });
    add([&](size_t) { return scale * std::fabs(random.bell()); });
  }
  // Sums that round up, or down, at every step.
  add([](size_t i) { return i < 32 ? 1.0F : 0x1.000002p-12F; });
  add([](size_t i) { return i < 32 ? 1.0F : 0x1.FFFFFEp-13F; });
  add([](size_t i) { return i % 2 == 0 ? 1.0F : -0x1.FFFFFEp-1F; });
  for (const float value :
       {0.0F, 1e-45F, 1e-30F, 1e-20F, 1e10F, 1e20F, 3e38F, -1.0F, 0x1p-40F, 0x1p40F}) {
    add([&](size_t) { return value; });
  }
  const size_t fixed = out.size();
  for (size_t i = 0; i < fixed; ++i) {  // near duplicates
    Values x = out[i];
    for (float& value : x) value += value * random.uniform() * 0x1p-20F;
    out.push_back(x);
  }
  return out;
}

// Of random rows no pair passes at a reach 1e-4 beyond its score.
void check_selective(Random& random) {
  std::vector<Values> rows(30, Values(512));
  for (Values& x : rows) {
    for (float& value : x) value = random.bell() / std::sqrt(512.0F);
  }
  int passed = 0;
  for (const Values& q : rows) {
    for (const Values& x : rows) {
      if (&q == &x) continue;
      for (const Metric metric : kMetrics) {
        const QueryBound bound = idsim::direct_query(metric, std::sqrt(exact_dot(q, q)));
        const float beyond = metric == Metric::l2 ? -1e-4F : 1e-4F;
        const idsim::QueryTerms query =
            idsim::query_terms(metric, bound, canonical(metric, q, x) + beyond);
        const idsim::RowTerms row =
            idsim::direct_terms(metric, float_dot(x, x, true), idsim::direct_error(512));
        passed += float_dot(q, x, true) >= idsim::row_limit(query, row) ? 1 : 0;
      }
    }
  }
  expect(passed == 0, "%d pairs 1e-4 below the reach pass", passed);
}

}  // namespace

int main() {
  Random random(5);
  for (const size_t d : {1, 2, 31, 33, 128, 512, 3000}) {
    const std::vector<Values> all = vectors(random, d);
    for (const Values& q : all) {
      for (const Values& x : all) check_pair(q, x);
    }
  }
  check_selective(random);
  return idsim::test::finish("direct_test");
}

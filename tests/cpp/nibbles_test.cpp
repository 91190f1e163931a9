// 4-bit codes: with a pair's own canonical score as the reach, the scan always lists its row; it does drop what
// is far below; and residuals hold what the codes lose. For every table that has them.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/nibbles.hpp"
#include "core/score.hpp"
#include "cpu/isa.hpp"

namespace {

using idsim::Metric;
using idsim::NibbleStats;
using idsim::RowStats;
using idsim::cpu::Kernels;
using idsim::test::Buffer;
using idsim::test::expect;
using idsim::test::Random;

constexpr Metric kMetrics[] = {Metric::cosine, Metric::dot, Metric::l2};

// What a row looks like; scale 0 leaves only the outlier.
struct Shape {
  float scale;
  float outlier;  // of the last element; 0: none
  bool constant;
};
constexpr Shape kShapes[] = {{1.0F, 0.0F, false},  {1e-3F, 0.0F, false},  {1.0F, 20.0F, false},
                             {1.0F, 1e6F, false},  {0.0F, 1.0F, false},   {0.0F, 0.0F, false},
                             {1.0F, 0.0F, true},   {-2.0F, 0.0F, true},   {1e-30F, 0.0F, false},
                             {1e30F, 0.0F, false}, {0x1p-40F, 0.0F, true}};

std::vector<float> row_of(Random& random, int64_t d, const Shape& shape) {
  std::vector<float> x(static_cast<size_t>(d));
  for (float& value : x) value = shape.scale * (shape.constant ? 1.0F : random.bell());
  if (shape.outlier != 0.0F) x.back() = shape.outlier;
  return x;
}

// n rows with both kinds of codes.
struct Rows {
  int64_t n, d, d_pad, row_bytes;
  Buffer<float> x;
  Buffer<uint8_t> codes, nibbles;
  std::vector<RowStats> stats;
  std::vector<NibbleStats> nibble_stats;

  Rows(const Kernels& kernels, const std::vector<std::vector<float>>& rows)
      : n(static_cast<int64_t>(rows.size())),
        d(static_cast<int64_t>(rows[0].size())),
        d_pad(idsim::padded_dim(d)),
        row_bytes(idsim::nibble_bytes(d_pad)),
        x(n * d),
        codes(n * d_pad),
        nibbles(n * row_bytes) {
    for (int64_t i = 0; i < n; ++i) {
      std::copy(rows[static_cast<size_t>(i)].begin(), rows[static_cast<size_t>(i)].end(),
                x.data() + i * d);
      const RowStats s = kernels.quantize_row(x.data() + i * d, d, codes.data() + i * d_pad);
      NibbleStats own{1.0F, std::numeric_limits<float>::infinity()};
      if (s.norm > static_cast<double>(s.residual)) {
        own = kernels.nibble_row(x.data() + i * d, d, codes.data() + i * d_pad, s.scale,
                                 nibbles.data() + i * row_bytes);
        check_residual(i, own);
      }
      stats.push_back(s);
      nibble_stats.push_back(own);
    }
  }

  // x^ of element j, by the layout of core/nibbles.hpp.
  double read(int64_t i, int64_t j, const NibbleStats& s) const {
    const int byte = nibbles[i * row_bytes + j / 128 * 64 + j % 64];
    const int nibble = j % 128 < 64 ? byte & 15 : byte >> 4;
    const int level = idsim::kNibbleLevels[nibble % 8];
    return static_cast<double>(s.scale) * (nibble < 8 ? level : -level);
  }

  void check_residual(int64_t i, const NibbleStats& s) const {
    double lost = 0.0;
    for (int64_t j = 0; j < d; ++j) {
      const double error = static_cast<double>(x[i * d + j]) - read(i, j, s);
      lost += error * error;
    }
    const double real = std::sqrt(lost);
    expect(static_cast<double>(s.residual) >= real, "d = %ld, row %ld: residual %g is below %g",
           static_cast<long>(d), static_cast<long>(i), static_cast<double>(s.residual), real);
    expect(static_cast<double>(s.residual) <= 1.001 * real + 1e-5 * stats_max(i),
           "d = %ld, row %ld: residual %g is far above %g", static_cast<long>(d),
           static_cast<long>(i), static_cast<double>(s.residual), real);
  }

  double stats_max(int64_t i) const {
    double most = 0.0;
    for (int64_t j = 0; j < d; ++j)
      most = std::max(most, std::fabs(static_cast<double>(x[i * d + j])));
    return most * std::sqrt(static_cast<double>(d));
  }

  double dot(int64_t i, const Rows& other, int64_t k) const {
    return idsim::dot_reference(x.data() + i * d, other.x.data() + k * d, d);
  }
};

float canonical(Metric metric, const Rows& queries, int64_t q, const Rows& rows, int64_t i) {
  const double dot = queries.dot(q, rows, i);
  if (metric == Metric::dot) return static_cast<float>(dot);
  const double qq = queries.dot(q, queries, q), xx = rows.dot(i, rows, i);
  if (metric == Metric::cosine) return idsim::cosine_score(dot, std::sqrt(qq), std::sqrt(xx));
  return idsim::l2_score(qq, xx, dot);
}

// The queries first and first + 1 of `queries`, as the scan takes them.
struct Prepared {
  int n;
  Buffer<int8_t> digits;
  std::vector<int32_t> starts;
  std::vector<idsim::QueryBound> bounds;

  Prepared(Metric metric, const Rows& queries, int64_t first, int count)
      : n(count), digits(int64_t{count} * 4 * queries.row_bytes) {
    for (int q = 0; q < n; ++q) {
      int8_t* coarse = digits.data() + int64_t{q} * 4 * queries.row_bytes;
      int8_t* fine = coarse + 2 * queries.row_bytes;
      for (int64_t j = 0; j < queries.d_pad; ++j) {
        coarse[j] = static_cast<int8_t>(queries.codes[(first + q) * queries.d_pad + j] - 128);
      }
      const RowStats& s = queries.stats[static_cast<size_t>(first + q)];
      bounds.push_back(idsim::fine_digits(queries.x.data() + (first + q) * queries.d, queries.d,
                                          queries.d_pad, coarse, static_cast<double>(s.scale),
                                          idsim::query_bound(metric, s), fine));
      for (const int8_t* digit : {coarse, fine}) {
        int32_t sum = 0;
        for (int64_t j = 0; j < 2 * queries.row_bytes; ++j) sum += digit[j];
        starts.push_back(-128 * sum);
      }
    }
  }
};

struct Listed {
  std::vector<int32_t> rows;
  int counts[idsim::cpu::kFewNibble] = {};
  int64_t stride;

  bool holds(int q, int64_t row) const {
    const auto begin = rows.begin() + q * stride;
    return std::find(begin, begin + counts[q], static_cast<int32_t>(row)) != begin + counts[q];
  }
};

Listed scan(const Kernels& kernels, Metric metric, const Rows& rows, const Prepared& queries,
            float reach) {
  const auto n = static_cast<size_t>(rows.n);
  Buffer<float> u(rows.n), v(rows.n), w(rows.n);
  for (size_t i = 0; i < n; ++i) {
    const idsim::RowTerms t = idsim::nibble_terms(metric, rows.nibble_stats[i], rows.stats[i].norm);
    const auto at = static_cast<int64_t>(i);
    u[at] = t.u;
    v[at] = t.v;
    w[at] = t.w;
  }
  std::vector<float> a, b, c;
  for (const idsim::QueryBound& bound : queries.bounds) {
    const idsim::QueryTerms t = idsim::query_terms(metric, bound, reach);
    a.push_back(t.a);
    b.push_back(t.b);
    c.push_back(t.c);
  }
  Listed out;
  out.stride = rows.n + 16;
  out.rows.resize(static_cast<size_t>(queries.n) * static_cast<size_t>(out.stride));
  kernels.nibble_scan({rows.nibbles.data(), static_cast<int>(rows.n), static_cast<int>(rows.d_pad),
                       queries.digits.data(), queries.n, queries.starts.data(), u.data(), v.data(),
                       metric == Metric::l2 ? w.data() : nullptr, a.data(), b.data(), c.data()},
                      out.rows.data(), out.counts);
  return out;
}

void check_never_drops(const Kernels& kernels, Random& random, int64_t d) {
  std::vector<std::vector<float>> values;
  for (const Shape& shape : kShapes) values.push_back(row_of(random, d, shape));
  const Rows queries(kernels, values);
  for (int i = 0; i < 8; ++i) {  // neighbours of the first, and more of the first kind
    std::vector<float> near = values[0];
    for (float& x : near) x += x * random.uniform() * std::ldexp(1.0F, -3 * i);
    values.push_back(near);
    values.push_back(row_of(random, d, kShapes[0]));
  }
  const Rows rows(kernels, values);
  for (const Metric metric : kMetrics) {
    for (int64_t q = 0; q + 1 < queries.n; ++q) {
      for (int64_t i = 0; i < rows.n; ++i) {
        for (int n = 1; n <= 2; ++n) {
          const int asked = n - 1;
          const Prepared prepared(metric, queries, q, n);
          const float score = canonical(metric, queries, q + asked, rows, i);
          if (std::isnan(score)) continue;
          const Listed listed = scan(kernels, metric, rows, prepared, score);
          expect(listed.holds(asked, i),
                 "%s, metric %d, d = %ld: query %ld of %d, row %ld, score %a: dropped",
                 kernels.name, static_cast<int>(metric), static_cast<long>(d), static_cast<long>(q),
                 n, static_cast<long>(i), static_cast<double>(score));
        }
      }
    }
  }
}

void check_selective(const Kernels& kernels, Random& random) {
  std::vector<std::vector<float>> values;
  for (int i = 0; i < 1000; ++i) values.push_back(row_of(random, 512, kShapes[0]));
  const Rows rows(kernels, values);
  const Prepared queries(Metric::cosine, rows, 0, 2);
  const Listed listed = scan(kernels, Metric::cosine, rows, queries, 0.188F);
  // Each query finds itself; of the others, with scores of deviation 0.044, 2 % lie within the bound.
  for (int q = 0; q < 2; ++q) {
    expect(listed.holds(q, q), "%s: query %d does not find itself", kernels.name, q);
    expect(listed.counts[q] <= 60, "%s: %d of 1000 rows pass", kernels.name, listed.counts[q]);
  }
}

void check_skipped(const Kernels& kernels, Random& random) {
  std::vector<std::vector<float>> values;
  for (int i = 0; i < 17; ++i) values.push_back(row_of(random, 64, kShapes[0]));
  values[3][5] = std::numeric_limits<float>::quiet_NaN();
  const Rows rows(kernels, values);
  const Prepared queries(Metric::dot, rows, 0, 1);
  const Listed listed =
      scan(kernels, Metric::dot, rows, queries, -std::numeric_limits<float>::infinity());
  expect(listed.counts[0] == 16 && !listed.holds(0, 3), "%s: %d rows pass, not all but row 3",
         kernels.name, listed.counts[0]);
}

}  // namespace

int main() {
  for (const Kernels* kernels : idsim::cpu::available_kernels()) {
    if (kernels->nibble_row == nullptr) continue;
    Random random(11);
    for (const int64_t d : {1, 17, 63, 64, 65, 128, 130, 192, 512, 1000}) {
      check_never_drops(*kernels, random, d);
    }
    check_selective(*kernels, random);
    check_skipped(*kernels, random);
  }
  return idsim::test::finish("nibbles_test");
}

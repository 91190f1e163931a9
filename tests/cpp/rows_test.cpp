// Row functions of every instruction set: codes, canonical dot, float32 products. Compared with loops that say
// what core/codes.hpp and core/score.hpp say.
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "core/codes.hpp"
#include "core/score.hpp"
#include "cpu/isa.hpp"

namespace {

using idsim::RowStats;
using idsim::cpu::Kernels;
using idsim::test::Buffer;
using idsim::test::expect;
using idsim::test::Random;
using idsim::test::same_bits;

using Row = Buffer<float>;
using Codes = Buffer<uint8_t>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

RowStats quantize_by_definition(const Row& x, Codes& code) {
  const int64_t d = x.size();
  std::fill_n(code.data(), code.size(), uint8_t{128});
  float most = 0.0F;
  bool finite = true;
  for (int64_t i = 0; i < d; ++i) {
    finite = finite && std::isfinite(x[i]);
    if (std::fabs(x[i]) > most) most = std::fabs(x[i]);
  }
  const double norm = std::sqrt(idsim::dot_reference(x.data(), x.data(), d));
  if (!finite) return {1.0F, kNan, std::numeric_limits<double>::quiet_NaN()};
  if (most == 0.0F) return {1.0F, 0.0F, 0.0};
  if (most < 0x1p-40F || most > 0x1p40F) return idsim::uncoded_stats(norm);
  const float inverse = 127.0F / most;
  const float scale = most / 127.0F;
  float lanes[32] = {};
  for (int64_t i = 0; i < d; ++i) {
    const float rounded = std::nearbyint(x[i] * inverse);
    const float product = scale * rounded;
    const float difference = x[i] - product;
    lanes[i % 32] += difference * difference;
    code[i] = static_cast<uint8_t>(static_cast<int>(rounded) + 128);
  }
  for (int width = 16; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return {scale, idsim::residual_bound(lanes[0], most, d), norm};
}

// ||x - s c|| with more digits than float64.
long double true_residual(const Row& x, const Codes& code, float scale) {
  long double sum = 0.0L;
  for (int64_t i = 0; i < x.size(); ++i) {
    const long double coded = static_cast<long double>(scale) * (static_cast<int>(code[i]) - 128);
    const long double lost = static_cast<long double>(x[i]) - coded;
    sum += lost * lost;
  }
  return std::sqrt(sum);
}

bool same_stats(const RowStats& a, const RowStats& b) {
  if (std::isnan(a.norm) || std::isnan(b.norm)) return std::isnan(a.norm) && std::isnan(b.norm);
  return same_bits(a.scale, b.scale) && same_bits(a.residual, b.residual) &&
         same_bits(a.norm, b.norm);
}

void check_codes(const Row& x, const char* what) {
  Codes expected(idsim::padded_dim(x.size()));
  const RowStats stats = quantize_by_definition(x, expected);
  const auto d = static_cast<long>(x.size());
  if (!std::isnan(stats.norm)) {
    expect(true_residual(x, expected, stats.scale) <= static_cast<long double>(stats.residual),
           "%s, d = %ld: the residual is above its bound %g", what, d,
           static_cast<double>(stats.residual));
  }
  for (const Kernels* kernels : idsim::cpu::available_kernels()) {
    Codes code(expected.size());
    const RowStats found = kernels->quantize_row(x.data(), x.size(), code.data());
    expect(std::memcmp(code.data(), expected.data(), code.bytes()) == 0,
           "%s, d = %ld: codes differ (%s)", what, d, kernels->name);
    expect(same_stats(found, stats), "%s, d = %ld: stats differ (%s): %a %a %a, expected %a %a %a",
           what, d, kernels->name, static_cast<double>(found.scale),
           static_cast<double>(found.residual), found.norm, static_cast<double>(stats.scale),
           static_cast<double>(stats.residual), stats.norm);
  }
}

Row random_row(Random& random, int64_t d, float scale) {
  Row x(d);
  for (int64_t i = 0; i < d; ++i) x[i] = random.bell() * scale;
  return x;
}

void check_special_rows(Random& random, int64_t d) {
  check_codes(Row(d), "zeros");
  check_codes(Row(d, -0.0F), "negative zeros");
  check_codes(Row(d, 1e-41F), "subnormal");
  check_codes(Row(d, std::numeric_limits<float>::max()), "largest");
  for (const float edge : {0x1p-40F, 0x1p40F}) {
    check_codes(Row(d, edge), "edge of the coded range");
    check_codes(Row(d, std::nextafter(edge, 0.0F)), "below an edge of the coded range");
    check_codes(Row(d, std::nextafter(edge, kInfinity)), "above an edge of the coded range");
  }
  for (const float odd : {kNan, kInfinity, -kInfinity, 1e30F, -1e-30F, 50.0F, 1e-45F}) {
    for (const int64_t at : {int64_t{0}, d / 2, d - 1}) {
      Row x = random_row(random, d, 1.0F);
      x[at] = odd;
      check_codes(x, "one odd element");
    }
  }
  Row halves(d, 127.0F);  // inverse 1: every other element is a tie
  for (int64_t i = 1; i < d; ++i) halves[i] = static_cast<float>(random.below(254) - 127) + 0.5F;
  check_codes(halves, "ties");
  Row near_ties(d, 127.0F);
  for (int64_t i = 1; i < d; ++i) {
    near_ties[i] = std::nextafter(halves[i], random.below(2) == 0 ? 0.0F : 200.0F * halves[i]);
  }
  check_codes(near_ties, "beside ties");
}

void check_dot(Random& random, int64_t d) {
  Row a = random_row(random, d, 1.0F);
  Row b = random_row(random, d, 1.0F);
  for (int64_t i = 0; i < d; ++i) {  // magnitudes far apart: the order of the sum shows
    a[i] *= std::ldexp(1.0F, random.below(40) - 20);
    b[i] *= std::ldexp(1.0F, random.below(40) - 20);
  }
  const double expected = idsim::dot_reference(a.data(), b.data(), d);
  for (const Kernels* kernels : idsim::cpu::available_kernels()) {
    const double found = kernels->dot(a.data(), b.data(), d);
    expect(same_bits(found, expected), "dot, d = %ld: %a, expected %a (%s)", static_cast<long>(d),
           found, expected, kernels->name);
  }
}

struct Exact {
  long double dot = 0.0L;
  long double size = 0.0L;  // ||a|| ||b||
};

Exact exact_dot(const float* a, const float* b, int64_t d) {
  long double ab = 0.0L;
  long double aa = 0.0L;
  long double bb = 0.0L;
  for (int64_t i = 0; i < d; ++i) {
    ab += static_cast<long double>(a[i]) * static_cast<long double>(b[i]);
    aa += static_cast<long double>(a[i]) * static_cast<long double>(a[i]);
    bb += static_cast<long double>(b[i]) * static_cast<long double>(b[i]);
  }
  return {ab, std::sqrt(aa * bb)};
}

void check_close(float found, const float* a, const float* b, int64_t d, const char* name) {
  const Exact exact = exact_dot(a, b, d);
  const long double bound = (static_cast<long double>(d) / 8.0L + 16.0L) * 0x1p-24L * exact.size;
  expect(std::abs(static_cast<long double>(found) - exact.dot) <= bound,
         "dots_f32, d = %ld: error above bound (%s)", static_cast<long>(d), name);
}

void check_dots_f32(Random& random, int64_t d, int n_rows, int n_queries) {
  const int64_t stride = d + random.below(3);
  const Row rows = random_row(random, n_rows > 0 ? (n_rows - 1) * stride + d : 0, 1.0F);
  const Row queries = random_row(random, n_queries * d, 3.0F);
  for (const Kernels* kernels : idsim::cpu::available_kernels()) {
    Row dots(int64_t{n_rows} * n_queries, kNan);
    Row squares(n_rows, kNan);
    kernels->dots_f32(rows.data(), stride, n_rows, queries.data(), n_queries, d, dots.data(),
                      squares.data());
    for (int i = 0; i < n_rows; ++i) {
      const float* x = rows.data() + i * stride;
      check_close(squares[i], x, x, d, kernels->name);
      for (int j = 0; j < n_queries; ++j) {
        check_close(dots[int64_t{i} * n_queries + j], x, queries.data() + j * d, d, kernels->name);
      }
    }
  }
}

std::vector<int64_t> dimensions() {
  std::vector<int64_t> dims;
  for (int64_t d = 1; d <= 200; ++d) dims.push_back(d);
  for (const int64_t d : {511, 512, 513, 2048}) dims.push_back(d);
  return dims;
}

}  // namespace

int main() {
  Random random(1);
  for (const int64_t d : dimensions()) {
    for (const float scale : {1.0F, 0x1p-30F, 3e8F})
      check_codes(random_row(random, d, scale), "random");
    check_special_rows(random, d);
    check_dot(random, d);
    check_dots_f32(random, d, 1 + random.below(9), 1 + random.below(9));
  }
  for (int n_rows = 0; n_rows < 20; ++n_rows) check_dots_f32(random, 70, n_rows, 3);
  for (int n_queries = 1; n_queries <= 9; ++n_queries) check_dots_f32(random, 128, 17, n_queries);
  return idsim::test::finish("rows_test");
}

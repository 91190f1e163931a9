// Coded products of every instruction set: integer dots must be exact, and hits exactly the pairs that reach
// their bound. Compared with plain loops.
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "cpu/isa.hpp"

namespace {

using idsim::cpu::Hit;
using idsim::cpu::Kernels;
using idsim::cpu::kFewQueries;
using idsim::cpu::kPanel;
using idsim::test::Buffer;
using idsim::test::expect;
using idsim::test::Random;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rows, queries and the terms of their bounds. I is close to normal with deviation `spread`.
struct Case {
  int n_rows;
  int n_queries;
  int d_pad;
  bool third;  // whether the third term counts
  Buffer<uint8_t> rows;
  Buffer<int8_t> queries;
  Buffer<int32_t> offsets;
  Buffer<float> u, v, w, a, b, c;
  Buffer<int32_t> dots;  // by definition, [n_rows, n_queries]

  Case(int rows_, int queries_, int d_pad_, bool third_)
      : n_rows(rows_),
        n_queries(queries_),
        d_pad(d_pad_),
        third(third_),
        rows(int64_t{rows_} * d_pad_),
        queries(int64_t{queries_} * d_pad_),
        offsets(queries_),
        u(rows_),
        v(rows_),
        w(rows_),
        a(queries_),
        b(queries_),
        c(queries_),
        dots(int64_t{rows_} * queries_) {}

  int32_t dot(int row, int query) const { return dots[int64_t{row} * n_queries + query]; }
};

int dot_by_definition(const uint8_t* row, const int8_t* query, int d_pad) {
  int sum = 0;
  for (int i = 0; i < d_pad; ++i) sum += (row[i] - 128) * query[i];
  return sum;
}

void fill_codes(Case& data, Random& random, bool extreme) {
  for (int64_t i = 0; i < data.rows.size(); ++i) {
    const int value = extreme ? 254 * random.below(2) : random.below(255);
    data.rows[i] = static_cast<uint8_t>(value + 1);
  }
  for (int64_t i = 0; i < data.queries.size(); ++i) {
    const int value = extreme ? 254 * random.below(2) : random.below(255);
    data.queries[i] = static_cast<int8_t>(value - 127);
  }
}

void finish_dots(Case& data) {
  for (int j = 0; j < data.n_queries; ++j) {
    const int8_t* query = data.queries.data() + int64_t{j} * data.d_pad;
    int sum = 0;
    for (int i = 0; i < data.d_pad; ++i) sum += query[i];
    data.offsets[j] = 128 * sum;
    for (int i = 0; i < data.n_rows; ++i) {
      data.dots[int64_t{i} * data.n_queries + j] =
          dot_by_definition(data.rows.data() + int64_t{i} * data.d_pad, query, data.d_pad);
    }
  }
}

// Ordinary bounds that about one pair in six reaches, and the odd ones of core/bounds.hpp.
void fill_terms(Case& data, Random& random, float spread) {
  for (int i = 0; i < data.n_rows; ++i) {
    data.u[i] = 1.0F + 0.5F * random.uniform();
    data.v[i] = 0.1F + 0.05F * random.uniform();
    data.w[i] = random.uniform();
    const int odd = random.below(20);
    if (odd == 0) data.u[i] = data.v[i] = data.w[i] = kNan;                // never passes
    if (odd == 1) data.u[i] = 1.0F, data.v[i] = kInfinity, data.w[i] = 0;  // always passes
  }
  for (int j = 0; j < data.n_queries; ++j) {
    data.a[j] = spread * (1.0F + 0.2F * random.uniform());
    data.b[j] = spread;
    data.c[j] = 0.1F * spread * random.uniform();
    if (random.below(15) == 0) {  // always passes
      data.a[j] = -kInfinity;
      data.b[j] = std::numeric_limits<float>::min();
      data.c[j] = 0.0F;
    }
  }
}

// A bound that equals I itself for one row and query: reaching is enough.
void fill_equal_bound(Case& data) {
  for (int j = 0; j < data.n_queries && j < data.n_rows; ++j) {
    data.a[j] = static_cast<float>(data.dot(j, j));
    data.b[j] = std::numeric_limits<float>::min();
    data.c[j] = 0.0F;
    data.u[j] = 1.0F;
    data.v[j] = 0.0F;
    data.w[j] = 0.0F;
  }
}

Case make_case(Random& random, int n_rows, int n_queries, int d_pad) {
  Case data(n_rows, n_queries, d_pad, random.below(2) == 0);
  const bool extreme = random.below(4) == 0;
  fill_codes(data, random, extreme);
  finish_dots(data);
  const double deviation = extreme ? 127.0 * 127.0 : 73.6 * 73.6;
  fill_terms(data, random, static_cast<float>(deviation * std::sqrt(d_pad)));
  if (random.below(3) == 0) fill_equal_bound(data);
  return data;
}

enum class Verdict { out, in, either };

// The test of the kernels in float64; `either` within what their float32 arithmetic may round away.
Verdict judge(const Case& data, int row, int query) {
  const double au = static_cast<double>(data.a[query]) * static_cast<double>(data.u[row]);
  const double bv = static_cast<double>(data.b[query]) * static_cast<double>(data.v[row]);
  const double cw =
      data.third ? static_cast<double>(data.c[query]) * static_cast<double>(data.w[row]) : 0.0;
  const double bound = au + (cw - bv);
  const auto dot = static_cast<double>(static_cast<float>(data.dot(row, query)));
  const double rounding = 0x1p-22 * (std::fabs(au) + std::fabs(bv) + std::fabs(cw));
  const bool equal = au == dot && bv <= 0x1p-120 && cw == 0.0;  // every operation is exact
  if (equal || !std::isfinite(bound)) return dot >= bound ? Verdict::in : Verdict::out;
  if (std::fabs(dot - bound) <= rounding) return Verdict::either;
  return dot >= bound ? Verdict::in : Verdict::out;
}

void check_hits(const Case& data, const Hit* hits, int count, const char* what, const char* name) {
  std::vector<int> seen(static_cast<size_t>(data.n_rows) * static_cast<size_t>(data.n_queries));
  for (int h = 0; h < count; ++h) {
    const Hit& hit = hits[h];
    const bool known =
        hit.row >= 0 && hit.row < data.n_rows && hit.query >= 0 && hit.query < data.n_queries;
    expect(known, "%s: hit of row %d and query %d is not of the block (%s)", what, hit.row,
           hit.query, name);
    if (!known) continue;
    ++seen[static_cast<size_t>(hit.row) * static_cast<size_t>(data.n_queries) +
           static_cast<size_t>(hit.query)];
    expect(hit.dot == data.dot(hit.row, hit.query), "%s: dot of a hit is %d, not %d (%s)", what,
           hit.dot, data.dot(hit.row, hit.query), name);
  }
  for (int i = 0; i < data.n_rows; ++i) {
    for (int j = 0; j < data.n_queries; ++j) {
      const Verdict verdict = judge(data, i, j);
      const int times = seen[static_cast<size_t>(i) * static_cast<size_t>(data.n_queries) +
                             static_cast<size_t>(j)];
      const bool right =
          verdict == Verdict::either ? times <= 1 : times == (verdict == Verdict::in ? 1 : 0);
      expect(right, "%s, %d rows, %d queries, d_pad %d: row %d, query %d reported %d times (%s)",
             what, data.n_rows, data.n_queries, data.d_pad, i, j, times, name);
    }
  }
}

// The query terms of a whole panel; unused queries never pass.
Buffer<float> panel_terms(const Buffer<float>& terms, float unused) {
  Buffer<float> panel(kPanel, unused);
  std::copy_n(terms.data(), terms.size(), panel.data());
  return panel;
}

void check_panel_dots(const Case& data, const Buffer<int32_t>& dots, const char* name) {
  for (int i = 0; i < data.n_rows; ++i) {
    for (int j = 0; j < kPanel; ++j) {
      const int expected = j < data.n_queries ? data.dot(i, j) : 0;
      const int found = dots[int64_t{i} * kPanel + j];
      expect(found == expected, "tile_dots, %d rows, d_pad %d: row %d, query %d is %d, not %d (%s)",
             data.n_rows, data.d_pad, i, j, found, expected, name);
    }
  }
}

void check_tiles(const Case& data, const Kernels& kernels, bool stage) {
  Buffer<char> panel(kernels.panel_bytes(data.d_pad), 0x55);
  kernels.pack_panel(data.queries.data(), data.n_queries, data.d_pad, panel.data());
  Buffer<char> staged(stage ? kernels.staged_bytes(data.n_rows, data.d_pad) : 0, 0x55);
  if (stage) {
    kernels.stage_rows(data.rows.data(), data.n_rows, data.d_pad, staged.data());
  }
  const Buffer<float> a = panel_terms(data.a, kInfinity);
  const Buffer<float> b = panel_terms(data.b, 1.0F);
  const Buffer<float> c = panel_terms(data.c, 0.0F);
  idsim::cpu::TileArgs args{};
  args.rows = stage ? static_cast<const void*>(staged.data()) : data.rows.data();
  args.staged = stage;
  args.n_rows = data.n_rows;
  args.d_pad = data.d_pad;
  args.panel = panel.data();
  args.u = data.u.data(), args.v = data.v.data(), args.w = data.third ? data.w.data() : nullptr;
  args.a = a.data(), args.b = b.data(), args.c = c.data();
  args.prefetch = data.n_rows % 2 == 0 ? data.rows.data() : nullptr;

  Buffer<int32_t> dots(int64_t{data.n_rows} * kPanel, -1);
  kernels.tile_dots(args, dots.data());
  check_panel_dots(data, dots, kernels.name);
  Buffer<Hit> hits(int64_t{data.n_rows} * kPanel);
  check_hits(data, hits.data(), kernels.tile_hits(args, hits.data()), "tile_hits", kernels.name);
}

void check_row_scan(const Case& data, const Kernels& kernels) {
  idsim::cpu::RowScanArgs args{};
  args.rows = data.rows.data();
  args.n_rows = data.n_rows;
  args.d_pad = data.d_pad;
  args.queries = data.queries.data();
  args.n_queries = data.n_queries;
  args.offsets = data.offsets.data();
  args.u = data.u.data(), args.v = data.v.data(), args.w = data.third ? data.w.data() : nullptr;
  args.a = data.a.data(), args.b = data.b.data(), args.c = data.c.data();
  Buffer<Hit> hits(int64_t{data.n_rows} * data.n_queries);
  check_hits(data, hits.data(), kernels.row_scan_hits(args, hits.data()), "row_scan_hits",
             kernels.name);
  for (int i = 0; i < std::min(data.n_rows, data.n_queries); ++i) {
    const int found = kernels.dot_i8(data.rows.data() + int64_t{i} * data.d_pad,
                                     data.queries.data() + int64_t{i} * data.d_pad, data.d_pad);
    expect(found == data.dot(i, i), "dot_i8, d_pad %d: %d, not %d (%s)", data.d_pad, found,
           data.dot(i, i), kernels.name);
  }
}

void check(const Case& data) {
  for (const Kernels* kernels : idsim::cpu::available_kernels()) {
    const bool can_stage = kernels->stage_rows != nullptr;
    if (can_stage) check_tiles(data, *kernels, true);
    if (!can_stage || kernels->stage_panels > 1) check_tiles(data, *kernels, false);
    if (data.n_queries <= kFewQueries) check_row_scan(data, *kernels);
  }
}

// The largest dimension with every product at its largest, of one sign: no partial sum may wrap for good.
void check_largest_sums() {
  constexpr int n_rows = 33;  // a strip of every table, and a row more
  Case data(n_rows, 2, static_cast<int>(idsim::kMaxDim), false);
  for (int64_t i = 0; i < data.rows.size(); ++i) {
    data.rows[i] = i / data.d_pad % 2 == 0 ? uint8_t{255} : uint8_t{1};
  }
  for (int i = 0; i < data.d_pad; ++i) {
    data.queries[i] = 127;
    data.queries[data.d_pad + i] = i % 2 == 0 ? int8_t{127} : int8_t{-127};
  }
  finish_dots(data);
  for (int i = 0; i < n_rows; ++i) data.u[i] = 1.0F;
  check(data);
}

void check_choice() {
  const auto& tables = idsim::cpu::available_kernels();
  expect(tables.front() == &idsim::cpu::portable_kernels(), "the portable table is not the first");
  expect(&idsim::cpu::active_kernels() == tables.back(), "the fastest table is not the default");
  for (const Kernels* kernels : tables) {
    idsim::cpu::set_active_kernels(kernels->name);
    expect(&idsim::cpu::active_kernels() == kernels, "%s was chosen but is not active",
           kernels->name);
  }
  std::string message;
  try {
    idsim::cpu::set_active_kernels("abacus");
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  for (const Kernels* kernels : tables) {
    expect(message.find(kernels->name) != std::string::npos, "\"%s\" does not name %s",
           message.c_str(), kernels->name);
  }
  expect(&idsim::cpu::active_kernels() == tables.back(), "a refused name changed the active table");
}

}  // namespace

int main() {
  check_choice();
  Random random(2);
  for (int n_rows = 0; n_rows <= 40; ++n_rows) {
    for (const int d_pad : {64, 128, 192, 512, 576}) {
      check(make_case(random, n_rows, 1 + random.below(kPanel), d_pad));
      check(make_case(random, n_rows, 1 + random.below(kFewQueries), d_pad));
    }
  }
  for (const int n_rows : {503, 504, 505, 512}) {
    check(make_case(random, n_rows, kPanel, 128));
    check(make_case(random, n_rows, kPanel, 1024));
  }
  for (int n_queries = 1; n_queries <= kPanel; ++n_queries) {
    check(make_case(random, 25, n_queries, 64));
    check(make_case(random, 26, n_queries, 192));
    check(make_case(random, 65, n_queries, 64));
    check(make_case(random, 96, n_queries, 576));
  }
  check_largest_sums();
  return idsim::test::finish("kernels_test");
}

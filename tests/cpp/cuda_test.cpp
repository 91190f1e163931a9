// The CUDA backend on the emulator against the CPU engine: the same bytes.
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "check.hpp"
#include "cpu/distribution.hpp"
#include "cpu/isa.hpp"
#include "cpu/prepare.hpp"
#include "cpu/tail.hpp"
#include "cpu/topk.hpp"
#include "cuda/distribution.hpp"
#include "cuda/ordering.hpp"
#include "cuda/rows.hpp"
#include "cuda/tail.hpp"
#include "cuda/topk.hpp"

namespace idsim::test {
namespace {

enum class Rows { random, clustered, duplicated, constant, sorted, outliers };
constexpr Rows kAllRows[] = {Rows::random,   Rows::clustered, Rows::duplicated,
                             Rows::constant, Rows::sorted,    Rows::outliers};

std::vector<float> make_rows(Rows kind, int64_t n, int64_t d, uint64_t seed) {
  Random random(seed);
  std::vector<float> rows(static_cast<size_t>(n * d));
  std::vector<float> center(static_cast<size_t>(d));
  for (int64_t i = 0; i < n; ++i) {
    float* row = rows.data() + i * d;
    for (int64_t j = 0; j < d; ++j) row[j] = random.bell();
    if (kind == Rows::clustered) {
      if (i % 20 == 0) std::copy(row, row + d, center.begin());
      for (int64_t j = 0; j < d; ++j) row[j] = center[static_cast<size_t>(j)] + 0.5F * row[j];
    }
    if (kind == Rows::duplicated && i % 3 != 0) std::copy(row - d, row, row);
    if (kind == Rows::constant && i > 0) std::copy(rows.data(), rows.data() + d, row);
    if (kind == Rows::sorted) row[0] += 0.01F * static_cast<float>(i);
    if (kind == Rows::outliers) row[i % std::min<int64_t>(3, d)] *= 40.0F;
  }
  if (n > 5) std::fill(rows.data() + 5 * d, rows.data() + 6 * d, 0.0F);
  if (kind == Rows::outliers && n > 7) {  // products that overflow, or vanish, in float32
    for (int64_t j = 0; j < d; ++j) {
      rows[static_cast<size_t>(6 * d + j)] *= 0x1p100F;
      rows[static_cast<size_t>(7 * d + j)] *= 0x1p-120F;
    }
  }
  return rows;
}

MatrixView view_of(const std::vector<float>& rows, int64_t d) {
  const auto bytes = static_cast<int64_t>(sizeof(float));
  return {rows.data(), static_cast<int64_t>(rows.size()) / d, d, d * bytes, bytes, DType::f32};
}

// Codes of a gallery from the device, ordered where it wants them so, with what they point to.
struct DeviceRows {
  DeviceRows(const MatrixView& rows, Metric metric, Precision precision)
      : codes(rows.rows * code_bytes(precision, rows.cols), nullptr),
        scale(rows.rows, nullptr),
        residual(rows.rows, nullptr),
        norm(rows.rows, nullptr),
        u(rows.rows, nullptr),
        v(rows.rows, nullptr),
        w(rows.rows, nullptr),
        order(rows.rows, nullptr),
        nonfinite(1, nullptr) {
    gallery.rows = rows;
    cuda::clear(nonfinite.data(), nullptr);
    if (precision == Precision::float32) {
      gallery.coded = {nullptr, nullptr, nullptr, nullptr, u.data(), v.data(), w.data(), precision};
      gallery.found = nonfinite.data();
      return;
    }
    gallery.coded = {codes.data(), scale.data(), residual.data(), norm.data(),
                     u.data(),     v.data(),     w.data(),        precision};
    if (cuda::wants_order(0, precision)) gallery.coded.order = order.data();
    cuda::quantize(rows, metric, gallery.coded, 0, nonfinite.data(), nullptr);
  }
  cuda::DeviceBuffer<uint8_t> codes;
  cuda::DeviceBuffer<float> scale, residual;
  cuda::DeviceBuffer<double> norm;
  cuda::DeviceBuffer<float> u, v, w;
  cuda::DeviceBuffer<int16_t> order;
  cuda::DeviceBuffer<cuda::NonFinite> nonfinite;
  cuda::Gallery gallery;
};

void check_codes(Rows kind, int64_t n, int64_t d) {
  const std::vector<float> rows = make_rows(kind, n, d, 3);
  const MatrixView view = view_of(rows, d);
  const DeviceRows device(view, Metric::cosine, Precision::int8);
  const int64_t d_pad = padded_dim(d);
  std::vector<uint8_t> code(static_cast<size_t>(d_pad));
  const cpu::Kernels& kernels = cpu::portable_kernels();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = device.gallery.row(i);
    const RowStats stats = kernels.quantize_row(rows.data() + row * d, d, code.data());
    expect(std::memcmp(code.data(), device.codes.data() + i * d_pad, code.size()) == 0,
           "codes of row %lld, d = %lld", static_cast<long long>(row), static_cast<long long>(d));
    expect(same_bits(stats.scale, device.scale.data()[i]) &&
               same_bits(stats.residual, device.residual.data()[i]) &&
               same_bits(stats.norm, device.norm.data()[i]),
           "stats of row %lld, d = %lld", static_cast<long long>(row), static_cast<long long>(d));
    const RowTerms terms = row_terms(Metric::cosine, stats.scale, stats.residual, stats.norm);
    expect(same_bits(terms.u, device.u.data()[i]) && same_bits(terms.v, device.v.data()[i]),
           "terms of row %lld", static_cast<long long>(row));
  }
}

struct Results {
  std::vector<float> scores;
  std::vector<int64_t> ids;
};

struct Case {
  Rows kind;
  Metric metric;
  int64_t q, n, d, k;
  float threshold;
  bool self;
  int parts;
  Precision precision = Precision::int8;
};

Results on_cpu(const Case& c, const std::vector<float>& queries, const std::vector<float>& rows) {
  cpu::Exclusion exclusion;
  exclusion.self = c.self;
  cpu::TopK scan(view_of(queries, c.d), c.metric, c.k, c.threshold, exclusion,
                 cpu::active_kernels());
  cpu::Gallery gallery;
  gallery.rows.view = view_of(rows, c.d);
  const cpu::ScanOptions options{&scan.kernels(), 1, false, {}};
  scan.feed(gallery, options);
  Results out{std::vector<float>(static_cast<size_t>(c.q * c.k)),
              std::vector<int64_t>(static_cast<size_t>(c.q * c.k))};
  scan.finish(out.scores.data(), out.ids.data());
  return out;
}

Results on_device(const Case& c, const std::vector<float>& queries, const std::vector<float>& rows,
                  cuda::Counts* counts, int most_digits = 2) {
  cuda::Exclusion exclusion;
  exclusion.self = c.self;
  const DeviceRows device(view_of(rows, c.d), c.metric, c.precision);
  cuda::DeviceBuffer<cuda::NonFinite> found(1, nullptr);
  cuda::TopK scan(view_of(queries, c.d), c.metric, c.k, c.threshold, exclusion, found.data(),
                  nullptr, most_digits);
  for (int part = c.parts; part-- > 0;) {  // the last first
    const int64_t begin = c.n * part / c.parts, end = c.n * (part + 1) / c.parts;
    scan.feed(slice(device.gallery, begin, end - begin));
  }
  Results out{std::vector<float>(static_cast<size_t>(c.q * c.k)),
              std::vector<int64_t>(static_cast<size_t>(c.q * c.k))};
  scan.finish(out.scores.data(), out.ids.data());
  *counts = scan.counts();
  return out;
}

// Every case with another order of threads than the one before.
void change_schedule() {
  using emulator::Schedule;
  constexpr Schedule next[] = {Schedule::first, Schedule::last, Schedule::in_turn};
  emulator::schedule = next[static_cast<int>(emulator::schedule)];
}

void check_topk(const Case& c) {
  change_schedule();
  const std::vector<float> rows = make_rows(c.kind, c.n, c.d, 11);
  std::vector<float> queries = make_rows(c.kind, c.q, c.d, c.self ? 11 : 23);
  cuda::Counts counts{};
  const Results got = on_device(c, queries, rows, &counts);
  const Results want = on_cpu(c, queries, rows);
  const bool same =
      std::memcmp(got.scores.data(), want.scores.data(), got.scores.size() * sizeof(float)) == 0 &&
      got.ids == want.ids;
  expect(same, "kind %d metric %d q %lld n %lld d %lld k %lld self %d parts %d precision %d",
         static_cast<int>(c.kind), static_cast<int>(c.metric), static_cast<long long>(c.q),
         static_cast<long long>(c.n), static_cast<long long>(c.d), static_cast<long long>(c.k),
         c.self, c.parts, static_cast<int>(c.precision));
  std::printf(
      "kind %d metric %d n %lld k %lld precision %d: %llu candidates, %llu rescored, %llu "
      "overflows%s\n",
      static_cast<int>(c.kind), static_cast<int>(c.metric), static_cast<long long>(c.n),
      static_cast<long long>(c.k), static_cast<int>(c.precision), counts.candidates,
      counts.rescored, counts.overflows, same ? "" : "  DIFFERENT");
}

// Two digits of a query halve the margin: fewer rows pass, and the answer is that of one digit.
void check_two_digits(Metric metric, int64_t q, bool are_used) {
  const float none = (metric == Metric::l2 ? 1.0F : -1.0F) * std::numeric_limits<float>::infinity();
  const Case c{Rows::random, metric, q, 4000, 256, 5, none, false, 1};
  const std::vector<float> rows = make_rows(c.kind, c.n, c.d, 11);
  std::vector<float> queries = make_rows(c.kind, c.q, c.d, 23);
  if (q > 5)
    std::copy_n(queries.data(), c.d, queries.data() + 5 * c.d);  // zero ties with every row
  cuda::Counts one{}, two{};
  const Results with_one = on_device(c, queries, rows, &one, 1);
  const Results with_two = on_device(c, queries, rows, &two, 2);
  expect(with_one.ids == with_two.ids && with_one.scores == with_two.scores,
         "metric %d q %lld: the number of digits changes the answer", static_cast<int>(metric),
         static_cast<long long>(q));
  const auto share = static_cast<double>(two.candidates) / static_cast<double>(one.candidates);
  expect(are_used ? share < 0.75 : share == 1.0,
         "metric %d q %lld: two digits let %llu rows pass, one %llu", static_cast<int>(metric),
         static_cast<long long>(q), two.candidates, one.candidates);
  expect(are_used ? two.rescored < one.rescored : two.rescored == one.rescored,
         "metric %d q %lld: %llu rows scored with two digits, %llu with one",
         static_cast<int>(metric), static_cast<long long>(q), two.rescored, one.rescored);
  std::printf("metric %d q %lld: %llu candidates by one digit, %llu by two\n",
              static_cast<int>(metric), static_cast<long long>(q), one.candidates, two.candidates);
}

std::vector<int64_t> labels(int64_t n, int64_t groups) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = i / 20 % groups;
  return out;
}

void check_tail(Rows kind, Metric metric, int64_t q, int64_t n, int64_t d,
                const std::vector<float>& thresholds, Precision precision = Precision::int8) {
  change_schedule();
  const std::vector<float> rows = make_rows(kind, n, d, 11);
  const std::vector<float> queries = make_rows(kind, q, d, 11);
  const DeviceRows device(view_of(rows, d), metric, precision);
  cuda::DeviceBuffer<cuda::NonFinite> found(1, nullptr);
  cuda::clear(found.data(), nullptr);
  cuda::Exclusion self;
  self.self = true;
  cpu::Exclusion cpu_self;
  cpu_self.self = true;
  cpu::Gallery gallery;
  gallery.rows.view = view_of(rows, d);
  const cpu::Kernels& kernels = cpu::active_kernels();
  const cpu::ScanOptions options{&kernels, 1, false, {}};

  cpu::CountAbove cpu_counts(view_of(queries, d), metric, thresholds, cpu_self, kernels);
  cpu_counts.feed(gallery, options);
  std::vector<int64_t> want(static_cast<size_t>(q) * thresholds.size());
  cpu_counts.finish(want.data());
  cuda::CountAbove counts(view_of(queries, d), metric, thresholds, self, found.data(), nullptr);
  counts.feed(device.gallery);
  std::vector<int64_t> got(want.size());
  counts.fetch(got.data());
  expect(got == want, "counts: kind %d metric %d", static_cast<int>(kind),
         static_cast<int>(metric));

  cpu::PairsAbove cpu_pairs(view_of(queries, d), metric, {thresholds[0], 1 << 24, 0}, cpu_self,
                            kernels);
  cpu_pairs.feed(gallery, options);
  const std::vector<cpu::FoundPair>& want_pairs = cpu_pairs.finish();
  cuda::PairsAbove pairs(view_of(queries, d), metric, thresholds[0], self, found.data(), nullptr);
  pairs.feed(device.gallery);
  std::vector<cuda::FoundPair> got_pairs = pairs.pairs();
  std::sort(got_pairs.begin(), got_pairs.end(), [](const auto& a, const auto& b) {
    return std::tie(a.query, a.id) < std::tie(b.query, b.id);
  });
  const bool same =
      std::equal(got_pairs.begin(), got_pairs.end(), want_pairs.begin(), want_pairs.end(),
                 [](const auto& a, const auto& b) {
                   return a.query == b.query && a.id == b.id && same_bits(a.score, b.score);
                 });
  expect(same, "pairs: kind %d metric %d: %zu, not %zu", static_cast<int>(kind),
         static_cast<int>(metric), got_pairs.size(), want_pairs.size());
}

void check_distribution(Rows kind, int64_t q, int64_t n, int64_t d, int bins, float tail,
                        bool triangle) {
  change_schedule();
  const std::vector<float> rows = make_rows(kind, n, d, 11);
  const std::vector<float> queries = make_rows(kind, q, d, 11);
  const std::vector<int64_t> query_labels = labels(q, 7), row_labels = labels(n, 7);
  cpu::Exclusion cpu_exclusion;
  cpu_exclusion.triangle = triangle;
  cpu::Gallery cpu_gallery;
  cpu_gallery.rows.view = view_of(rows, d);
  cpu_gallery.groups = row_labels.data();
  const cpu::Kernels& kernels = cpu::active_kernels();
  cpu::Distribution cpu_scan(view_of(queries, d), bins, tail, cpu_exclusion, query_labels.data(),
                             kernels);
  cpu_scan.feed(cpu_gallery, {&kernels, 1, false, {}});
  const auto size = static_cast<size_t>(bins);
  std::vector<uint64_t> want(2 * size), got(2 * size);
  cpu_scan.add_to(want.data(), want.data() + size);

  DeviceRows device(view_of(rows, d), Metric::cosine, Precision::int8);
  device.gallery.groups = row_labels.data();
  cuda::Exclusion exclusion;
  exclusion.triangle = triangle;
  cuda::DeviceBuffer<cuda::NonFinite> found(1, nullptr);
  cuda::clear(found.data(), nullptr);
  cuda::Distribution scan(view_of(queries, d), bins, tail, exclusion, query_labels.data(),
                          found.data(), nullptr);
  scan.feed(device.gallery);
  scan.add_to(got.data(), got.data() + size);
  const double error = scan.max_error(scan.worst_row());
  expect(got == want, "distribution: kind %d bins %d triangle %d", static_cast<int>(kind), bins,
         triangle);
  expect(same_bits(error, cpu_scan.max_error(cpu_scan.worst_row())),
         "distribution's error: kind %d: %g, not %g", static_cast<int>(kind), error,
         cpu_scan.max_error(cpu_scan.worst_row()));
}

// Sets a variable of the emulator (tests/emulator/faults.hpp) for as long as it lives.
class Fault {
 public:
  Fault(const char* variable, int64_t value) : variable_(variable) {
    setenv(variable, std::to_string(value).c_str(), 1);
  }
  ~Fault() { unsetenv(variable_); }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

 private:
  const char* variable_;
};

template <class Error, class Do>
bool throws(const char* part_of_message, const Do& act) {
  try {
    act();
  } catch (const Error& error) {
    return std::string(error.what()).find(part_of_message) != std::string::npos;
  }
  return false;
}

void check_memory() {
  const auto taken = [] { return emulator::memory_of(0) - emulator::memory_left(0); };
  const size_t before = taken();
  {
    const Fault limit("IDSIM_EMULATED_MEMORY", static_cast<int64_t>(before) + 100'000);
    const auto make = [](int64_t size) { return cuda::DeviceBuffer<float>(size, nullptr); };
    expect(throws<std::bad_alloc>("no room for another 400000 bytes: 100000 of its",
                                  [&] { make(100'000); }),
           "no error where the device has no room");
    int64_t size = 100'000;
    expect(cuda::made_to_fit(&size, 1000, make).size() == 25'000 && size == 25'000,
           "a buffer made to fit has %lld elements", static_cast<long long>(size));
    size = 100'000;
    expect(throws<std::bad_alloc>("no room", [&] { cuda::made_to_fit(&size, 30'000, make); }),
           "a buffer below its least size");
  }
  expect(taken() == before, "device memory leaked");
}

// After an error that loses the context, every use of the device says so.
void check_lost_context() {
  const std::vector<float> rows = make_rows(Rows::random, 20, 32, 1);
  const auto use = [&] {
    const DeviceRows device(view_of(rows, 32), Metric::cosine, Precision::int8);
  };
  const char* text = "The CUDA context of this process is lost";
  for (const int error :
       {cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorECCUncorrectable}) {
    const Fault fault("IDSIM_EMULATED_FAILURE", error);
    expect(throws<CudaError>(text, use) && throws<CudaError>(text, use), "error %d", error);
    expect(throws<CudaError>(text, [] { cuda::DeviceBuffer<char>(1, nullptr); }),
           "memory after error %d", error);
  }
  const Fault fault("IDSIM_EMULATED_FAILURE", cudaErrorInvalidValue);
  expect(throws<CudaError>("invalid argument", use) && !throws<CudaError>(text, use),
         "an error that leaves the context");
  cudaGetLastError();
}

}  // namespace
}  // namespace idsim::test

int main() {
  using namespace idsim;
  using namespace idsim::test;
  for (const int64_t d : {1, 31, 64, 100, 512}) {
    check_codes(Rows::random, 40, d);
    check_codes(Rows::outliers, 20, d);
  }
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (const Rows kind : kAllRows) {
    for (const Metric metric : {Metric::cosine, Metric::dot, Metric::l2}) {
      const float none = metric == Metric::l2 ? inf : -inf;
      check_topk({kind, metric, 9, 6000, 64, 5, none, false, 1});
    }
    check_topk({kind, Metric::cosine, 131, 1500, 100, 10, -inf, true, 3});
    check_topk({kind, Metric::dot, 20, 1500, 100, 10, -inf, true, 3});
    check_topk({kind, Metric::l2, 31, 1100, 70, 5, inf, false, 2});
    check_topk({kind, Metric::cosine, 3, 700, 70, 900, -inf, false, 2});
    check_topk({kind, Metric::cosine, 5, 3000, 32, 1, 0.3F, false, 1});
  }
  for (const Rows kind : kAllRows) {
    constexpr Precision half = Precision::float16;
    check_topk({kind, Metric::cosine, 9, 3000, 64, 5, -inf, false, 1, half});
    check_topk({kind, Metric::dot, 131, 1500, 100, 40, -inf, true, 3, half});
    check_topk({kind, Metric::l2, 3, 700, 70, 300, inf, false, 2, half});
    check_tail(kind, Metric::cosine, 70, 500, 64, {0.2F, 0.9F, 0.5F}, half);
    check_tail(kind, Metric::l2, 5, 300, 100, {9.0F, 12.0F}, half);
  }
  for (const Rows kind : kAllRows) {
    constexpr Precision direct = Precision::float32;
    check_topk({kind, Metric::cosine, 3, 6000, 64, 5, -inf, false, 1, direct});
    check_topk({kind, Metric::dot, 8, 3000, 31, 40, -inf, true, 3, direct});
    check_topk({kind, Metric::l2, 13, 2000, 70, 300, inf, false, 2, direct});
    check_topk({kind, Metric::cosine, 1, 3000, 1, 7, 0.3F, false, 1, direct});
    check_tail(kind, Metric::cosine, 10, 500, 64, {0.2F, 0.9F, 0.5F}, direct);
    check_tail(kind, Metric::dot, 5, 300, 100, {20.0F}, direct);
    check_tail(kind, Metric::l2, 5, 300, 100, {9.0F, 12.0F}, direct);
  }
  // Queries that do not fit the emulator's shared memory.
  check_topk({Rows::random, Metric::cosine, 2, 40, 4000, 3, -inf, false, 1, Precision::float32});
  check_memory();
  check_lost_context();
  // Every shape of the row scan; 129 are too many, 100 of 1024 dimensions too large for the emulator's shared memory.
  for (const int64_t q : {1, 8, 13, 31, 32, 33, 64, 65, 128, 129}) {
    check_topk({Rows::random, Metric::cosine, q, 1030, 448, 4, -inf, false, 1});
  }
  check_topk({Rows::clustered, Metric::l2, 128, 1001, 100, 4, inf, false, 1});
  check_topk({Rows::random, Metric::cosine, 100, 300, 1024, 4, -inf, false, 1});
  // Two digits do not fit, one does.
  check_topk({Rows::random, Metric::cosine, 20, 300, 2048, 4, -inf, false, 1});
  for (const Metric metric : {Metric::cosine, Metric::dot, Metric::l2}) {
    check_two_digits(metric, 16, true);
  }
  check_two_digits(Metric::cosine, 1, true);
  check_two_digits(Metric::cosine, 32, true);
  check_two_digits(Metric::cosine, 33, false);
  for (const Rows kind : kAllRows) {
    check_tail(kind, Metric::cosine, 70, 500, 64, {0.2F, 0.9F, 0.5F});
    check_tail(kind, Metric::dot, 5, 300, 100, {20.0F});
    check_tail(kind, Metric::l2, 5, 300, 100, {9.0F, 12.0F});
    check_distribution(kind, 140, 300, 64, 64, 0.25F, false);
    check_distribution(kind, 200, 200, 96, 4096, inf, true);
    check_distribution(kind, 3, 130, 32, 1 << 14, -0.5F, false);
  }
  return finish("cuda_test");
}

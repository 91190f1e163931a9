// Codes that are stored by ascending scale, on the emulator: how they lie, and that no answer shows it.
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/error.hpp"
#include "cpu/distribution.hpp"
#include "cpu/isa.hpp"
#include "cpu/tail.hpp"
#include "cpu/topk.hpp"
#include "cuda/ordering.hpp"
#include "cuda/prepared.hpp"
#include "cuda/scan.hpp"

namespace idsim::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Lengths and largest elements that differ; every third row twice; rows that get no codes in between.
std::vector<float> make_rows(int64_t n, int64_t d, uint64_t seed) {
  Random random(seed);
  std::vector<float> rows(static_cast<size_t>(n * d));
  for (int64_t i = 0; i < n; ++i) {
    float* row = rows.data() + i * d;
    if (i % 3 == 2) {
      std::copy(row - d, row, row);
      continue;
    }
    const float length = std::exp(0.3F * random.bell());
    for (int64_t j = 0; j < d; ++j) row[j] = length * random.bell();
    row[random.below(static_cast<int>(d))] *= 1.0F + std::fabs(random.bell());
    if (i % 100 == 43) row[d - 1] = kNan;
    if (i % 1000 == 57) row[0] = -kInf;
    if (i % 100 == 64) std::fill(row, row + d, 0.0F);
    if (i % 100 == 70) row[0] = 0x1p60F;
    if (i % 100 == 81) std::transform(row, row + d, row, [](float x) { return x * 0x1p-60F; });
  }
  return rows;
}

MatrixView view_of(const std::vector<float>& rows, int64_t d) {
  const auto bytes = static_cast<int64_t>(sizeof(float));
  return {rows.data(), static_cast<int64_t>(rows.size()) / d, d, d * bytes, bytes, DType::f32};
}

bool same_numbers(float a, float b) { return same_bits(a, b) || (std::isnan(a) && std::isnan(b)); }

// What a row's codes and stats are is what they are in the order of rows.
void check_contents(const cuda::CodedRows& ordered, const cuda::CodedRows& plain, int64_t n,
                    int64_t d) {
  const int64_t pitch = code_bytes(plain.precision, d);
  for (int64_t slot = 0; slot < n; ++slot) {
    const int64_t row = ordered.row(slot);
    const bool same =
        std::memcmp(ordered.codes + slot * pitch, plain.codes + row * pitch,
                    static_cast<size_t>(pitch)) == 0 &&
        same_bits(ordered.scale[slot], plain.scale[row]) &&
        same_bits(ordered.residual[slot], plain.residual[row]) &&
        same_numbers(static_cast<float>(ordered.norm[slot]), static_cast<float>(plain.norm[row])) &&
        same_numbers(ordered.u[slot], plain.u[row]) &&
        same_numbers(ordered.v[slot], plain.v[row]) &&
        (plain.w == nullptr || same_numbers(ordered.w[slot], plain.w[row]));
    expect(same, "slot %lld differs from row %lld", static_cast<long long>(slot),
           static_cast<long long>(row));
  }
}

// Every row of a block once; u ascends, to the bits that count; equal rows, and those without codes, in their own order.
void check_block(const cuda::CodedRows& coded, const MatrixView& rows, int64_t first, int64_t n) {
  const auto has_codes = [&](int64_t slot) {
    return coded.norm[slot] > 0.0 && std::isfinite(coded.v[slot]);
  };
  std::vector<int> seen(static_cast<size_t>(n));
  for (int64_t slot = first; slot < first + n; ++slot) {
    const int64_t row = coded.row(slot);
    expect(row >= first && row < first + n && ++seen[static_cast<size_t>(row - first)] == 1,
           "row %lld lies in slot %lld", static_cast<long long>(row), static_cast<long long>(slot));
    if (slot == first) continue;
    const bool before = has_codes(slot - 1), here = has_codes(slot);
    expect(before || !here, "codes in slot %lld, behind rows without",
           static_cast<long long>(slot));
    if (before && here) {
      expect(coded.u[slot] >= coded.u[slot - 1] * (1.0F - 0x1p-10F), "u falls from %g to %g",
             static_cast<double>(coded.u[slot - 1]), static_cast<double>(coded.u[slot]));
    }
    const auto data = [&](int64_t i) {
      return static_cast<const char*>(rows.data) + i * rows.row_stride;
    };
    const bool equal = std::memcmp(data(row), data(coded.row(slot - 1)),
                                   static_cast<size_t>(rows.row_stride)) == 0;
    if (equal || (!before && !here)) {
      expect(row > coded.row(slot - 1), "rows %lld and %lld are exchanged",
             static_cast<long long>(row), static_cast<long long>(coded.row(slot - 1)));
    }
  }
}

void check_order(Metric metric, Precision precision, int64_t n, int64_t d) {
  const std::vector<float> rows = make_rows(n, d, 5);
  const MatrixView view = view_of(rows, d);
  cuda::CodeBuffers plain(n, d, metric, precision, nullptr);
  cuda::CodeBuffers ordered(n, d, metric, precision, nullptr);
  ordered.keep_order(nullptr);
  cuda::DeviceBuffer<cuda::NonFinite> found(1, nullptr);
  cuda::NonFinite met[2];
  for (int i = 0; i < 2; ++i) {
    cuda::clear(found.data(), nullptr);
    cuda::quantize(view, metric, (i == 0 ? plain : ordered).rows(), 1000, found.data(), nullptr);
    met[i] = cuda::fetch(found.data(), nullptr);
  }
  expect(met[0].count > 0 && met[0].count == met[1].count && met[0].first == met[1].first,
         "%llu rows with NaN, the first %lld; not %llu and %lld", met[1].count, met[1].first,
         met[0].count, met[0].first);
  check_contents(ordered.rows(), plain.rows(), n, d);
  for (int64_t first = 0; first < n; first += cuda::kOrderBlock) {
    check_block(ordered.rows(), view, first, std::min(cuda::kOrderBlock, n - first));
  }
}

enum class From { host, host_in_parts, index, mapped_index };

struct Case {
  Metric metric;
  Precision precision;
  int64_t n;
  From from;
  bool self, triangle, grouped;
};

constexpr int64_t kDim = 64, kQueries = 5, kK = 7, kFirstId = 100;
constexpr int kBins = 256;

// A case with its data. The queries are rows near the end of the first block.
struct Setting {
  explicit Setting(const Case& c)
      : rows(make_rows(c.n, kDim, 17)),
        first_query(std::min(c.n, cuda::kOrderBlock) - kQueries - 1),
        queries(rows.begin() + first_query * kDim, rows.begin() + (first_query + kQueries) * kDim),
        groups(static_cast<size_t>(c.n)) {
    Random random(3);
    for (float& x : queries) x = std::isfinite(x) ? x + 0.3F * random.bell() : 1.0F;
    for (int64_t i = 0; i < c.n; ++i) groups[static_cast<size_t>(i)] = i / 7 % 11;
    for (int64_t i = 0; i < kQueries; ++i) query_groups[i] = i * 2;
    thresholds =
        c.metric == Metric::l2 ? std::vector<float>{5.0F, 8.0F} : std::vector<float>{0.5F, 0.25F};
  }
  std::vector<float> rows;
  int64_t first_query;
  std::vector<float> queries;
  std::vector<int64_t> groups;
  int64_t query_groups[kQueries];
  std::vector<float> thresholds;
};

struct Answers {
  std::vector<float> scores = std::vector<float>(kQueries * kK);
  std::vector<int64_t> ids = std::vector<int64_t>(kQueries * kK);
  std::vector<int64_t> counts = std::vector<int64_t>(2 * kQueries);
  std::vector<cpu::FoundPair> pairs;
  std::vector<uint64_t> bins = std::vector<uint64_t>(2 * kBins);
};

Answers on_cpu(const Case& c, const Setting& s) {
  cpu::Exclusion exclusion;
  exclusion.self = c.self;
  exclusion.first_query_id = kFirstId + s.first_query;
  if (c.grouped) exclusion.query_groups = s.query_groups;
  cpu::Exclusion tail = exclusion;
  tail.triangle = c.triangle;
  const MatrixView queries = view_of(s.queries, kDim);
  cpu::Gallery gallery;
  gallery.rows.view = view_of(s.rows, kDim);
  gallery.first_id = kFirstId;
  gallery.groups = s.groups.data();
  const cpu::Kernels& kernels = cpu::active_kernels();
  const cpu::ScanOptions options{&kernels, 1, true, {}};
  Answers out;
  const float none = c.metric == Metric::l2 ? kInf : -kInf;
  cpu::TopK search(queries, c.metric, kK, none, exclusion, kernels);
  search.feed(gallery, options);
  search.finish(out.scores.data(), out.ids.data());
  cpu::CountAbove counts(queries, c.metric, s.thresholds, tail, kernels);
  counts.feed(gallery, options);
  counts.finish(out.counts.data());
  cpu::PairsAbove pairs(queries, c.metric, {s.thresholds[0], 1 << 24, 0}, tail, kernels);
  pairs.feed(gallery, options);
  out.pairs = pairs.finish();
  if (c.metric != Metric::cosine) return out;
  tail.query_groups = nullptr;
  cpu::Distribution bins(queries, kBins, 0.3F, tail, exclusion.query_groups, kernels);
  bins.feed(gallery, options);
  bins.add_to(out.bins.data(), out.bins.data() + kBins);
  return out;
}

// An index, in whose making rows that stay on the host come in parts of one block.
std::unique_ptr<cuda::PreparedGallery> make_index(const Case& c, const cuda::Matrix& rows) {
  cuda::Preparation how;
  how.metric = c.metric;
  how.precision = c.precision;
  how.skip_nonfinite = true;
  how.host_rows = c.from == From::mapped_index;
  const auto taken = emulator::memory_of(0) - emulator::memory_left(0);
  const auto codes = static_cast<size_t>(c.n * coded_row_bytes(c.precision, kDim));
  const auto part = static_cast<size_t>(2 * cuda::kOrderBlock * kDim) * sizeof(float);
  const std::string limit = std::to_string(taken + codes + part * 3 / 2);
  if (how.host_rows) setenv("IDSIM_EMULATED_MEMORY", limit.c_str(), 1);
  auto index = std::make_unique<cuda::PreparedGallery>(rows, how, cuda::Target{});
  unsetenv("IDSIM_EMULATED_MEMORY");
  const cuda::CodedRows& coded = index->state().gallery.coded;
  expect(coded.order != nullptr, "an index without an order");
  for (int64_t first = 0; first < c.n; first += cuda::kOrderBlock) {
    check_block(coded, rows.view, first, std::min(cuda::kOrderBlock, c.n - first));
  }
  return index;
}

Answers on_device(const Case& c, const Setting& s) {
  const cuda::Matrix queries{view_of(s.queries, kDim)}, rows{view_of(s.rows, kDim)};
  const cuda::Target target;
  cuda::QueryOptions options;
  options.metric = c.metric;
  options.precision = c.precision;
  options.exclude_self = c.self;
  options.first_query_id = kFirstId + s.first_query;
  if (c.grouped) options.query_groups = s.query_groups;
  std::unique_ptr<cuda::PreparedGallery> index;
  if (c.from == From::index || c.from == From::mapped_index) index = make_index(c, rows);
  const int64_t budget = c.from == From::host_in_parts ? 400 * c.n : int64_t{1} << 30;
  const auto feed = [&](cuda::Scan& scan) {
    if (index != nullptr) return scan.feed(*index, kFirstId, s.groups.data(), budget);
    scan.feed(rows, kFirstId, s.groups.data(), true, budget, {});
  };
  Answers out;
  const float none = c.metric == Metric::l2 ? kInf : -kInf;
  cuda::TopKSearch search(queries, options, kK, none, target);
  feed(search);
  search.finish(out.scores.data(), out.ids.data(), false);
  options.triangle = c.triangle;
  cuda::CountSearch counts(queries, options, s.thresholds, target);
  feed(counts);
  counts.finish(out.counts.data());
  cuda::PairSearch pairs(queries, options, s.thresholds[0], 1 << 24, 0, target);
  feed(pairs);
  for (const cuda::FoundPair& p : pairs.finish()) out.pairs.push_back({p.query, p.id, p.score});
  if (c.metric != Metric::cosine) return out;
  cuda::DistributionSearch bins(queries, options, kBins, 0.3F, target);
  feed(bins);
  bins.add_to(out.bins.data(), out.bins.data() + kBins);
  return out;
}

void check_answers(const Case& c) {
  const Setting setting(c);
  const Answers got = on_device(c, setting), want = on_cpu(c, setting);
  const auto tell = [&](bool same, const char* what) {
    expect(same, "%s: metric %d precision %d n %lld from %d, leaving out %d %d %d", what,
           static_cast<int>(c.metric), static_cast<int>(c.precision), static_cast<long long>(c.n),
           static_cast<int>(c.from), c.self, c.triangle, c.grouped);
  };
  tell(std::memcmp(got.scores.data(), want.scores.data(), kQueries * kK * sizeof(float)) == 0 &&
           got.ids == want.ids,
       "results");
  tell(got.counts == want.counts, "counts");
  const auto same_pair = [](const cpu::FoundPair& a, const cpu::FoundPair& b) {
    return a.query == b.query && a.id == b.id && same_bits(a.score, b.score);
  };
  tell(!want.pairs.empty() && std::equal(got.pairs.begin(), got.pairs.end(), want.pairs.begin(),
                                         want.pairs.end(), same_pair),
       "pairs");
  tell(got.bins == want.bins, "bins");
}

// The row that an error names is the first of the gallery, not of the codes.
void check_error(From from) {
  std::vector<float> rows = make_rows(300, kDim, 9);
  for (float& x : rows) x = std::isfinite(x) ? x : 0.5F;
  rows[277 * kDim] = rows[120 * kDim] = kNan;
  const cuda::Matrix gallery{view_of(rows, kDim)}, queries{{rows.data(), 2, kDim, 256, 4}};
  std::string said;
  try {
    if (from == From::index) {
      cuda::Preparation how;
      how.precision = Precision::int8;
      how.first_row = 1000;
      const cuda::PreparedGallery index(gallery, how, cuda::Target{});
    } else {
      cuda::QueryOptions options;
      options.precision = Precision::int8;
      cuda::TopKSearch search(queries, options, 3, -kInf, cuda::Target{});
      search.feed(gallery, 1000, nullptr, false, int64_t{1} << 20, {});
    }
  } catch (const NonFiniteRow& error) {
    said = error.what();
  }
  expect(said.find("row 1120 ") != std::string::npos, "an error says: %s", said.c_str());
}

}  // namespace
}  // namespace idsim::test

int main() {
  using namespace idsim;
  using namespace idsim::test;
  setenv("IDSIM_EMULATED_CAPABILITY", "90", 1);
  expect(!cuda::wants_order(0, Precision::int8), "codes are ordered, and nobody asked");
  setenv("IDSIM_CUDA_TILES", "wgmma", 1);
  expect(cuda::wants_order(0, Precision::float16) && !cuda::wants_order(0, Precision::float32),
         "which precisions are ordered");
  constexpr Precision int8 = Precision::int8, half = Precision::float16;
  check_order(Metric::cosine, int8, 16'400, 16);
  for (const Metric metric : {Metric::cosine, Metric::dot, Metric::l2}) {
    for (const int64_t n : {101, 128, 8193}) check_order(metric, half, n, 8);
    check_order(metric, int8, 700, 100);
  }
  check_order(Metric::cosine, int8, 200, 1);
  check_answers({Metric::cosine, int8, 8191, From::host, true, false, false});
  check_answers({Metric::cosine, int8, 8192, From::index, false, true, false});
  check_answers({Metric::cosine, half, 8193, From::host, true, false, true});
  check_answers({Metric::cosine, int8, 16'400, From::host_in_parts, false, false, true});
  check_answers({Metric::cosine, int8, 16'400, From::mapped_index, true, false, true});
  check_answers({Metric::dot, int8, 8197, From::index, true, true, false});
  check_answers({Metric::dot, half, 9000, From::host_in_parts, false, true, true});
  check_answers({Metric::l2, int8, 9000, From::host_in_parts, true, false, false});
  check_answers({Metric::l2, half, 8200, From::mapped_index, false, false, true});
  check_error(From::index);
  check_error(From::host);
  return finish("ordering_test");
}

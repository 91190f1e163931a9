#include "cuda/search.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "cuda/distribution.hpp"
#include "cuda/launch.cuh"
#include "cuda/tail.hpp"
#include "cuda/topk.hpp"
#include "cuda/upload.hpp"

namespace idsim::cuda {
namespace {

cudaStream_t stream_of(const Target& target) { return static_cast<cudaStream_t>(target.stream); }

void wait(cudaStream_t stream) { check(cudaStreamSynchronize(stream), "waiting for the device"); }

// Codes of up to `rows` gallery rows, to be filled again and again.
class CodeBuffers {
 public:
  CodeBuffers(int64_t rows, int64_t d, Metric metric, Precision precision, cudaStream_t stream)
      : precision_(precision),
        codes_(rows * idsim::code_bytes(precision, d), stream),
        scale_(precision == Precision::float32 ? 0 : rows, stream),
        residual_(scale_.size(), stream),
        norm_(scale_.size(), stream),
        u_(rows, stream),
        v_(rows, stream),
        w_(metric == Metric::l2 ? rows : 0, stream) {}

  CodedRows rows() const {
    const auto data = [](const auto& column) {
      return column.size() > 0 ? column.data() : nullptr;
    };
    return {data(codes_), data(scale_), data(residual_), data(norm_),
            data(u_),     data(v_),     data(w_),        precision_};
  }
  static int64_t bytes_per_row(int64_t d, Precision precision) {
    return idsim::code_bytes(precision, d) + 5 * 4 + 8;
  }

 private:
  Precision precision_;
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<float> scale_, residual_;
  DeviceBuffer<double> norm_;
  DeviceBuffer<float> u_, v_, w_;
};

NonFinite fetch(const DeviceBuffer<NonFinite>& found, cudaStream_t stream) {
  NonFinite out{};
  check(cudaMemcpyAsync(&out, found.data(), sizeof out, cudaMemcpyDefault, stream),
        "copying from the device");
  wait(stream);
  return out;
}

// Of the current device.
bool int8_tensor_cores() {
  return has_int8_tensor_cores(device_attribute(cudaDevAttrComputeCapabilityMajor),
                               device_attribute(cudaDevAttrComputeCapabilityMinor));
}

// Device memory for the rows of a prepared gallery that is fed anew.
constexpr int64_t kRefeedBytes = int64_t{256} << 20;

DeviceBuffer<int64_t> upload_groups(const int64_t* groups, int64_t n, cudaStream_t stream) {
  if (groups == nullptr) return {};
  DeviceBuffer<int64_t> out(n, stream);
  out.upload(groups, n);
  return out;
}

}  // namespace

struct PreparedGallery::State {
  State(const Matrix& matrix, Metric by, Precision precision, const Target& to)
      : target(to),
        metric(by),
        rows(matrix, stream_of(to)),
        codes(matrix.view.rows, matrix.view.cols, by, precision, stream_of(to)) {
    gallery.rows = rows.view();
    gallery.coded = codes.rows();
  }

  Target target;
  Metric metric;
  DeviceRows rows;
  CodeBuffers codes;
  Gallery gallery;
  int64_t skipped = 0;
};

PreparedGallery::PreparedGallery(const Matrix& rows, Metric metric, Precision precision,
                                 bool skip_nonfinite, const Target& target) {
  const DeviceScope scope(target.device);
  const cudaStream_t stream = stream_of(target);
  if (precision == Precision::float32) {
    throw std::invalid_argument(
        "an Index keeps codes: precision must be 'auto', 'int8' or 'float16', not 'float32'");
  }
  // What will be asked is not known, so that k counts for nothing.
  const Work work{0, 0, rows.view.rows, int8_tensor_cores()};
  state_ = std::make_unique<State>(rows, metric, chosen_precision(precision, work, false), target);
  DeviceBuffer<NonFinite> found(1, stream);
  clear(found.data(), stream);
  quantize(state_->gallery.rows, metric, state_->gallery.coded, 0, found.data(), stream);
  const NonFinite bad = fetch(found, stream);
  if (bad.count > 0 && !skip_nonfinite) throw NonFiniteRow("gallery", bad.first);
  state_->skipped = static_cast<int64_t>(bad.count);
}

PreparedGallery::~PreparedGallery() = default;
int64_t PreparedGallery::count() const { return state_->gallery.count(); }
int64_t PreparedGallery::dim() const { return state_->gallery.dim(); }
Metric PreparedGallery::metric() const { return state_->metric; }
Precision PreparedGallery::precision() const { return state_->gallery.coded.precision; }
int64_t PreparedGallery::skipped_rows() const { return state_->skipped; }
int64_t PreparedGallery::code_bytes() const {
  return count() * CodeBuffers::bytes_per_row(dim(), precision());
}
int64_t PreparedGallery::row_bytes() const { return state_->rows.bytes(); }
const Target& PreparedGallery::target() const { return state_->target; }

struct Scan::State {
  // Uploads the labels of the queries; the scan itself is made by the derived class.
  State(const Matrix& queries, const QueryOptions& options, const Target& to)
      : target(to),
        metric(options.metric),
        precision(options.precision),
        first_query_id(options.first_query_id),
        labels(upload_groups(options.query_groups, queries.view.rows, stream_of(to))),
        found(1, stream_of(to)) {
    exclusion.self = options.exclude_self;
    exclusion.triangle = options.triangle;
    exclusion.first_query_id = options.first_query_id;
    if (options.query_groups != nullptr) exclusion.query_groups = labels.data();
    clear(found.data(), stream_of(to));
  }
  virtual ~State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  virtual void take(const Gallery& gallery) = 0;
  virtual const Queries::View& queries() const = 0;
  virtual int64_t wanted() const { return 0; }  // k of a top-k search
  // False: the answer is known without looking at a row, and the rows are only coded, to find those with NaN or Inf.
  virtual bool looks() const { return queries().count > 0; }
  // Called between parts, so that a scan can stop one that found too much.
  virtual void look() {}

  void check_queries() const {
    const NonFinite bad = fetch(found, stream_of(target));
    if (bad.count > 0) throw NonFiniteRow("queries", first_query_id + bad.first);
  }

  Target target;
  Metric metric;
  Precision precision;  // that was asked for
  int64_t first_query_id;
  DeviceBuffer<int64_t> labels;
  DeviceBuffer<NonFinite> found;
  Exclusion exclusion;
  int64_t rows_scanned = 0;
  int64_t skipped = 0;
};

Scan::Scan(std::unique_ptr<State> state) : state_(std::move(state)) {
  const DeviceScope scope(state_->target.device);
  state_->check_queries();
}

Scan::~Scan() = default;
int64_t Scan::count() const { return state_->queries().count; }
int64_t Scan::dim() const { return state_->queries().dim; }
Metric Scan::metric() const { return state_->metric; }
const Target& Scan::target() const { return state_->target; }

void Scan::feed(const Matrix& rows, int64_t first_id, const int64_t* groups, bool skip_nonfinite,
                int64_t budget, const Poll& poll) {
  State& s = *state_;
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  const int64_t n = rows.view.rows, d = rows.view.cols;
  if (n == 0) return;
  const Work work{count(), s.wanted(), n, int8_tensor_cores()};
  const Precision precision =
      s.looks() ? chosen_precision(s.precision, work, true) : Precision::int8;
  const int64_t part_rows = std::clamp<int64_t>(
      budget / (CodeBuffers::bytes_per_row(d, precision) + 2 * RowStream::device_row_bytes(rows)),
      1, n);
  const CodeBuffers codes(part_rows, d, s.metric, precision, stream);
  const auto check_rows = [&](const NonFinite& bad) {
    if (bad.count > 0 && !skip_nonfinite) throw NonFiniteRow("gallery", bad.first);
  };
  clear(s.found.data(), stream);
  // The device's count, as of some part before: bad rows stop the scan early, and for certain at its end.
  PinnedBuffer seen(sizeof(NonFinite));
  std::memset(seen.data(), 0, sizeof(NonFinite));
  RowStream parts(rows, part_rows, stream);
  MatrixView part;
  int64_t first = 0;
  while (parts.next(&part, &first)) {
    NonFinite before{};
    std::memcpy(&before, seen.data(), sizeof before);
    check_rows(before);
    const DeviceBuffer<int64_t> labels =
        upload_groups(groups == nullptr ? nullptr : groups + first, part.rows, stream);
    Gallery gallery;
    gallery.rows = part;
    gallery.coded = codes.rows();
    if (groups != nullptr) gallery.groups = labels.data();
    gallery.first_id = first_id + first;
    gallery.found = s.found.data();
    if (precision != Precision::float32) {
      quantize(part, s.metric, gallery.coded, gallery.first_id, s.found.data(), stream);
    }
    s.take(gallery);
    check(cudaMemcpyAsync(seen.data(), s.found.data(), sizeof(NonFinite), cudaMemcpyDeviceToHost,
                          stream),
          "copying from the device");
    s.look();
    s.rows_scanned += part.rows;
    if (poll) poll(first);
  }
  const NonFinite bad = fetch(s.found, stream);  // and the caller's rows may go
  check_rows(bad);
  s.skipped += static_cast<int64_t>(bad.count);
  if (poll) poll(n);
}

void Scan::feed(const PreparedGallery& prepared, int64_t first_id, const int64_t* groups) {
  State& s = *state_;
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  Gallery gallery = prepared.state().gallery;
  if (s.precision != Precision::automatic && s.precision != prepared.precision()) {
    return feed({gallery.rows, true}, first_id, groups, true, kRefeedBytes, {});
  }
  const DeviceBuffer<int64_t> labels = upload_groups(groups, gallery.count(), stream);
  if (groups != nullptr) gallery.groups = labels.data();
  gallery.first_id = first_id;
  s.take(gallery);
  s.look();
  s.rows_scanned += gallery.count();
  s.skipped += prepared.skipped_rows();
}

namespace {

// The state of a scan whose work is done by a C of topk.hpp, tail.hpp or distribution.hpp.
template <class C>
struct StateOf : Scan::State {
  StateOf(const Matrix& matrix, const QueryOptions& options, const Target& to)
      : State(matrix, options, to), rows(matrix, stream_of(to)) {}
  void take(const Gallery& gallery) override { scan->feed(gallery); }
  const Queries::View& queries() const override { return scan->queries(); }
  int64_t wanted() const override {
    if constexpr (std::is_same_v<C, TopK>) return scan->k();
    return 0;
  }
  bool looks() const override {
    return State::looks() && !(std::is_same_v<C, TopK> && wanted() == 0);
  }

  DeviceRows rows;  // read by the constructor of the scan
  std::optional<C> scan;
};

// make(state, exclusion) constructs the scan.
template <class C, class Make>
std::unique_ptr<Scan::State> make_state(const Matrix& queries, const QueryOptions& options,
                                        const Target& target, const Make& make) {
  const DeviceScope scope(target.device);
  auto state = std::make_unique<StateOf<C>>(queries, options, target);
  make(*state);
  return state;
}

template <class C>
StateOf<C>& as(Scan::State& state) {
  return static_cast<StateOf<C>&>(state);
}

struct PairState : StateOf<PairsAbove> {
  using StateOf::StateOf;
  void look() override {
    if (static_cast<int64_t>(scan->pairs().size()) <= max_pairs - found_before) return;
    throw std::length_error("more than max_pairs = " + std::to_string(max_pairs) +
                            " pairs reach the threshold; raise the threshold or max_pairs");
  }
  int64_t max_pairs = 0;
  int64_t found_before = 0;
};

}  // namespace

TopKSearch::TopKSearch(const Matrix& queries, const QueryOptions& options, int64_t k,
                       float threshold, const Target& target)
    : Scan(make_state<TopK>(queries, options, target, [&](StateOf<TopK>& s) {
        s.scan.emplace(s.rows.view(), s.metric, k, threshold, s.exclusion, s.found.data(),
                       stream_of(target));
      })) {}

int64_t TopKSearch::k() const { return as<TopK>(*state_).scan->k(); }
int64_t TopKSearch::bytes_per_query(int64_t dim, int64_t k) {
  return TopK::bytes_per_query(dim, k);
}

void TopKSearch::finish(float* scores, int64_t* ids, bool on_device) {
  const DeviceScope scope(target().device);
  const cudaStream_t stream = stream_of(target());
  TopK& scan = *as<TopK>(*state_).scan;
  if (on_device) return scan.finish(scores, ids);
  const int64_t n = count() * k();
  const DeviceBuffer<float> score_buffer(n, stream);
  const DeviceBuffer<int64_t> id_buffer(n, stream);
  scan.finish(score_buffer.data(), id_buffer.data());
  const auto copy = [&](void* to, const void* from, size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copying results");
  };
  copy(scores, score_buffer.data(), static_cast<size_t>(n) * sizeof(float));
  copy(ids, id_buffer.data(), static_cast<size_t>(n) * sizeof(int64_t));
  wait(stream);
}

SearchCertificate TopKSearch::certificate() const {
  const DeviceScope scope(target().device);
  const Counts counts = as<TopK>(*state_).scan->counts();
  return {state_->rows_scanned,
          state_->rows_scanned * count(),
          static_cast<int64_t>(counts.candidates),
          static_cast<int64_t>(counts.rescored),
          state_->skipped,
          static_cast<int64_t>(counts.overflows)};
}

void TopKSearch::reach(float* out) const {
  const DeviceScope scope(target().device);
  as<TopK>(*state_).scan->fetch_reach(out);
}

CountSearch::CountSearch(const Matrix& queries, const QueryOptions& options,
                         const std::vector<float>& thresholds, const Target& target)
    : Scan(make_state<CountAbove>(queries, options, target, [&](StateOf<CountAbove>& s) {
        s.scan.emplace(s.rows.view(), s.metric, thresholds, s.exclusion, s.found.data(),
                       stream_of(target));
      })) {}

int64_t CountSearch::thresholds() const { return as<CountAbove>(*state_).scan->thresholds(); }

void CountSearch::finish(int64_t* counts) const {
  const DeviceScope scope(target().device);
  as<CountAbove>(*state_).scan->fetch(counts);
}

namespace {

std::unique_ptr<Scan::State> make_pair_state(const Matrix& queries, const QueryOptions& options,
                                             float threshold, int64_t max_pairs,
                                             int64_t found_before, const Target& target) {
  const DeviceScope scope(target.device);
  auto state = std::make_unique<PairState>(queries, options, target);
  state->max_pairs = max_pairs;
  state->found_before = found_before;
  state->scan.emplace(state->rows.view(), state->metric, threshold, state->exclusion,
                      state->found.data(), stream_of(target));
  return state;
}

}  // namespace

PairSearch::PairSearch(const Matrix& queries, const QueryOptions& options, float threshold,
                       int64_t max_pairs, int64_t found_before, const Target& target)
    : Scan(make_pair_state(queries, options, threshold, max_pairs, found_before, target)) {}

std::vector<FoundPair> PairSearch::finish() const {
  std::vector<FoundPair> pairs = as<PairsAbove>(*state_).scan->pairs();
  std::sort(pairs.begin(), pairs.end(), [](const FoundPair& a, const FoundPair& b) {
    return std::tie(a.query, a.id) < std::tie(b.query, b.id);
  });
  return pairs;
}

DistributionSearch::DistributionSearch(const Matrix& queries, const QueryOptions& options, int bins,
                                       float tail, const Target& target)
    : Scan(make_state<Distribution>(queries, options, target, [&](StateOf<Distribution>& s) {
        s.precision = Precision::int8;  // its estimates are those of the CPU
        Exclusion exclusion = s.exclusion;
        const int64_t* labels = std::exchange(exclusion.query_groups, nullptr);
        s.scan.emplace(s.rows.view(), bins, tail, exclusion, labels, s.found.data(),
                       stream_of(target));
      })) {}

int DistributionSearch::bins() const { return as<Distribution>(*state_).scan->bins(); }

void DistributionSearch::add_to(uint64_t* non_mated, uint64_t* mated) const {
  const DeviceScope scope(target().device);
  as<Distribution>(*state_).scan->add_to(non_mated, mated);
}

double DistributionSearch::worst_row() const {
  const DeviceScope scope(target().device);
  return as<Distribution>(*state_).scan->worst_row();
}

double DistributionSearch::max_error(double worst_row) const {
  const DeviceScope scope(target().device);
  return as<Distribution>(*state_).scan->max_error(worst_row);
}

void normalize(const Matrix& rows, float* out, bool out_on_device, const Target& target) {
  const DeviceScope scope(target.device);
  const cudaStream_t stream = stream_of(target);
  const DeviceRows on_device(rows, stream);
  const int64_t n = rows.view.rows * rows.view.cols;
  DeviceBuffer<NonFinite> found(1, stream);
  clear(found.data(), stream);
  const DeviceBuffer<float> buffer(out_on_device ? 0 : n, stream);
  normalize(on_device.view(), out_on_device ? out : buffer.data(), found.data(), stream);
  if (!out_on_device) {
    check(cudaMemcpyAsync(out, buffer.data(), static_cast<size_t>(n) * sizeof(float),
                          cudaMemcpyDefault, stream),
          "copying results");
  }
  const NonFinite bad = fetch(found, stream);
  if (bad.count > 0) throw NonFiniteRow("x", bad.first);
}

}  // namespace idsim::cuda

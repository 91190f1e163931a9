#include "cuda/search.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "cuda/distribution.hpp"
#include "cuda/fetch.hpp"
#include "cuda/prepared.hpp"
#include "cuda/tail.hpp"
#include "cuda/topk.hpp"
#include "cuda/upload.hpp"

namespace idsim::cuda {
namespace {

DeviceBuffer<int64_t> upload_groups(const int64_t* groups, int64_t n, cudaStream_t stream) {
  if (groups == nullptr) return {};
  DeviceBuffer<int64_t> out(n, stream);
  out.upload(groups, n);
  return out;
}

// A target, before anything is queued there, whose stream the host may wait for if it is going to.
const Target& usable(const Target& target, bool waits) {
  if (waits) check_not_capturing(stream_of(target));
  return target;
}

}  // namespace

struct Scan::State {
  // Uploads the labels of the queries; the scan itself is made by the derived class.
  State(const Matrix& queries, const QueryOptions& options, const Target& to)
      : target(usable(to, options.checked)),
        metric(options.metric),
        checked(options.checked),
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
  // Called between parts, so that a scan can stop one that found too much.
  virtual void look() {}

  void check_queries() const {
    if (!checked) return;
    const NonFinite bad = fetch(found.data(), stream_of(target));
    if (bad.count > 0) throw NonFiniteRow("queries", first_query_id + bad.first);
  }

  Target target;
  Metric metric;
  bool checked;
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
const NonFinite* Scan::found() const { return state_->found.data(); }

namespace {

// A gallery that comes in parts: rows that hold NaN or Inf, labels, and what is told between parts.
class PartedFeed {
 public:
  PartedFeed(Scan::State& state, int64_t first_id, const int64_t* groups, bool skip_nonfinite,
             const Poll& poll)
      : state_(state),
        stream_(stream_of(state.target)),
        first_id_(first_id),
        groups_(groups),
        skip_(skip_nonfinite),
        poll_(poll),
        seen_(sizeof(NonFinite)) {
    clear(state.found.data(), stream_);
    std::memset(seen_.data(), 0, sizeof(NonFinite));
  }

  // Rows first .. of the whole, quantised or their terms derived.
  void take(Gallery part, int64_t first) {
    check_seen();
    const DeviceBuffer<int64_t> labels =
        upload_groups(groups_ == nullptr ? nullptr : groups_ + first, part.count(), stream_);
    if (groups_ != nullptr) part.groups = labels.data();
    part.first_id = first_id_ + first;
    part.first_row = first;
    check(cudaMemcpyAsync(seen_.data(), state_.found.data(), sizeof(NonFinite),
                          cudaMemcpyDeviceToHost, stream_),
          "copying from the device");
    state_.take(part);
    state_.look();
    state_.rows_scanned += part.count();
    if (poll_) poll_(first);
  }

  // Waits, so that the caller's rows may go.
  void finish(int64_t rows) {
    const NonFinite bad = fetch(state_.found.data(), stream_);
    check_rows(bad);
    state_.skipped += static_cast<int64_t>(bad.count);
    if (poll_) poll_(rows);
  }

 private:
  // The device's count, as of some part before: bad rows stop the scan early, and for certain at its end.
  void check_seen() const {
    NonFinite before{};
    std::memcpy(&before, seen_.data(), sizeof before);
    check_rows(before);
  }
  void check_rows(const NonFinite& bad) const {
    if (bad.count > 0 && !skip_) throw NonFiniteRow("gallery", bad.first);
  }

  Scan::State& state_;
  cudaStream_t stream_;
  int64_t first_id_;
  const int64_t* groups_;
  bool skip_;
  const Poll& poll_;
  PinnedBuffer seen_;
};

}  // namespace

void Scan::feed(const Matrix& rows, int64_t first_id, const int64_t* groups, bool skip_nonfinite,
                int64_t budget, const Poll& poll) {
  State& s = *state_;
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  const int64_t n = rows.view.rows;
  if (n == 0) return;
  const auto form = rows.on_device ? GalleryForm::device_rows : GalleryForm::host_rows;
  const auto parts = made_of_parts(form, rows, budget, [&](const PartPlan& plan) {
    return std::make_unique<RowParts>(rows, plan.rows, s.metric, stream);
  });
  PartedFeed feed(s, first_id, groups, skip_nonfinite, poll);
  Gallery part;
  part.coded = parts->codes.rows();
  int64_t first = 0;
  while (parts->rows.next(&part.rows, &first)) {
    quantize(part.rows, s.metric, part.coded, first_id + first, s.found.data(), stream);
    feed.take(part, first);
  }
  feed.finish(n);
}

void Scan::feed(const Matrix& rows, const CodeArrays& codes, int64_t first_id,
                const int64_t* groups, bool skip_nonfinite, int64_t budget, const Poll& poll) {
  State& s = *state_;
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  const int64_t n = rows.view.rows;
  if (n == 0) return;
  const auto parts =
      made_of_parts(GalleryForm::host_codes, rows, budget, [&](const PartPlan& plan) {
        return std::make_unique<CodedParts>(rows, codes, plan, s.metric, stream);
      });
  PartedFeed feed(s, first_id, groups, skip_nonfinite, poll);
  Gallery part;
  part.rows.cols = rows.view.cols;
  part.fetcher = &parts->rows;
  int64_t first = 0;
  while (parts->codes.next(&part.coded, &first, &part.rows.rows, first_id, s.found.data())) {
    feed.take(part, first);
  }
  feed.finish(n);
}

void Scan::feed(const PreparedGallery& prepared, int64_t first_id, const int64_t* groups,
                int64_t budget) {
  State& s = *state_;
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  Gallery gallery = prepared.state().gallery;
  if (gallery.count() == 0) return;
  std::unique_ptr<RowFetcher> fetcher;
  if (prepared.row_place() == RowPlace::fetched) {
    const Matrix& rows = prepared.state().given;
    fetcher = made_of_parts(GalleryForm::host_index, rows, budget, [&](const PartPlan& plan) {
      return std::make_unique<RowFetcher>(rows, plan.rows, plan.fetched_rows, stream);
    });
    gallery.fetcher = fetcher.get();
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
  check_not_capturing(stream);
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
  const NonFinite bad = fetch(found.data(), stream);
  if (bad.count > 0) throw NonFiniteRow("x", bad.first);
}

}  // namespace idsim::cuda

#include "cuda/scan.hpp"

#include <cstring>
#include <memory>

#include "core/error.hpp"
#include "core/tile_plan.hpp"
#include "cuda/device.hpp"
#include "cuda/fetch.hpp"
#include "cuda/ordering.hpp"
#include "cuda/prepared.hpp"
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

Scan::State::State(const Matrix& queries, const QueryOptions& options, const Target& to)
    : target(usable(to, options.checked)),
      metric(options.metric),
      precision(options.precision),
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

void Scan::State::check_queries() const {
  if (!checked) return;
  const NonFinite bad = fetch(found.data(), stream_of(target));
  if (bad.count > 0) throw NonFiniteRow("queries", first_query_id + bad.first);
}

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
    part.found = state_.found.data();
    state_.take(part);
    check(cudaMemcpyAsync(seen_.data(), state_.found.data(), sizeof(NonFinite),
                          cudaMemcpyDeviceToHost, stream_),
          "copying from the device");
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
  const Work work{count(), s.wanted(), n, int8_tensor_cores(s.target.device)};
  const Precision precision =
      s.looks() ? chosen_precision(s.precision, work, true) : Precision::int8;
  if (s.looks()) s.use(precision);
  const auto form = rows.on_device ? GalleryForm::device_rows : GalleryForm::host_rows;
  // For few queries of a top-k search, which the row scan takes, reading the rows twice would cost more than all else.
  const bool row_scan = s.wanted() > 0 && count() <= kMostFewQueries;
  const bool ordered = !row_scan && wants_order(s.target.device, precision);
  const auto parts = made_of_parts(form, rows, precision, budget, [&](const PartPlan& plan) {
    return std::make_unique<RowParts>(rows, plan.rows, s.metric, precision, ordered, stream);
  });
  PartedFeed feed(s, first_id, groups, skip_nonfinite, poll);
  Gallery part;
  part.coded = parts->codes.rows();
  int64_t first = 0;
  while (parts->rows.next(&part.rows, &first)) {
    if (precision != Precision::float32) {
      quantize(part.rows, s.metric, part.coded, first_id + first, s.found.data(), stream);
    }
    feed.take(part, first);
  }
  feed.finish(n);
}

void Scan::feed(const Matrix& rows, const CodeArrays& codes, int64_t first_id,
                const int64_t* groups, bool skip_nonfinite, int64_t budget, const Poll& poll) {
  State& s = *state_;
  if (s.precision != Precision::automatic && s.precision != Precision::int8) {
    return feed(rows, first_id, groups, skip_nonfinite, budget, poll);
  }
  const DeviceScope scope(s.target.device);
  const cudaStream_t stream = stream_of(s.target);
  const int64_t n = rows.view.rows;
  if (n == 0) return;
  if (s.looks()) s.use(Precision::int8);
  const auto parts = made_of_parts(
      GalleryForm::host_codes, rows, Precision::int8, budget, [&](const PartPlan& plan) {
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
  if (s.precision != Precision::automatic && s.precision != prepared.precision()) {
    const bool copied = prepared.row_place() == RowPlace::device;
    const Matrix rows = copied ? Matrix{gallery.rows, true} : prepared.state().given;
    return feed(rows, first_id, groups, true, budget, {});
  }
  if (s.looks()) s.use(prepared.precision());
  std::unique_ptr<RowFetcher> fetcher;
  if (prepared.row_place() == RowPlace::fetched) {
    const Matrix& rows = prepared.state().given;
    const Precision codes = prepared.precision();
    fetcher =
        made_of_parts(GalleryForm::host_index, rows, codes, budget, [&](const PartPlan& plan) {
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
  prepared.read_on(s.target.stream);
}

}  // namespace idsim::cuda

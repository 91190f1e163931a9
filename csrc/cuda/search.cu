#include "cuda/search.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "cuda/distribution.hpp"
#include "cuda/prepared.hpp"
#include "cuda/scan.hpp"
#include "cuda/tail.hpp"
#include "cuda/topk.hpp"
#include "cuda/upload.hpp"

namespace idsim::cuda {
namespace {

// The state of a scan whose work is done by a C of topk.hpp, tail.hpp or distribution.hpp.
template <class C>
struct StateOf : Scan::State {
  StateOf(const Matrix& matrix, const QueryOptions& options, const Target& to)
      : State(matrix, options, to), rows(matrix, stream_of(to)) {}
  void use(Precision precision) override {
    if constexpr (!std::is_same_v<C, Distribution>)
      scan->use(precision);  // which knows that it is int8
  }
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

#include "cuda/replay.hpp"

#include "cuda/kept_memory.hpp"
#include "cuda/rows.hpp"
#include "cuda/runtime.hpp"
#include "cuda/transfer.hpp"

namespace idsim::cuda {
namespace {

// A stream of the current device.
class Stream {
 public:
  Stream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

struct Replay::State {
  State(const Matrix& q, const PreparedGallery& g, const QueryOptions& o, int64_t k_,
        float threshold_, float* scores_, int64_t* ids_, int device_)
      : queries(q),
        gallery(g),
        options(o),
        k(k_),
        threshold(threshold_),
        scores(scores_),
        ids(ids_),
        device(device_),
        memory(own.get()) {
    options.checked = false;
  }
  ~State() {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
  }

  void queue(cudaStream_t stream) {
    const KeptMemory::Scope scope(memory);
    TopKSearch search(queries, options, k, threshold, {device, stream});
    search.feed(gallery, 0, nullptr, 0);
    search.finish(scores, ids, true);
    found = search.found();
  }

  void capture() {
    check(cudaStreamBeginCapture(own.get(), cudaStreamCaptureModeThreadLocal),
          "beginning a capture");
    cudaGraph_t captured = nullptr;
    try {
      queue(own.get());
    } catch (...) {
      cudaStreamEndCapture(own.get(), &captured);
      if (captured != nullptr) cudaGraphDestroy(captured);
      cudaGetLastError();
      throw;
    }
    check(cudaStreamEndCapture(own.get(), &captured), "capturing a search");
    const cudaError_t error = cudaGraphInstantiate(&graph, captured, 0);
    cudaGraphDestroy(captured);
    check(error, "making a graph");
  }

  Matrix queries;
  const PreparedGallery& gallery;
  QueryOptions options;
  int64_t k;
  float threshold;
  float* scores;
  int64_t* ids;
  int device;
  Stream own;
  KeptMemory memory;
  Event done;  // the last launch of the graph
  cudaGraphExec_t graph = nullptr;
  const NonFinite* found = nullptr;
};

Replay::Replay(const Matrix& queries, const PreparedGallery& gallery, const QueryOptions& options,
               int64_t k, float threshold, float* scores, int64_t* ids, const Target& target) {
  const DeviceScope scope(target.device);
  const auto stream = static_cast<cudaStream_t>(target.stream);
  check_not_capturing(stream);
  state_ =
      std::make_unique<State>(queries, gallery, options, k, threshold, scores, ids, target.device);
  State& s = *state_;
  s.done.record(stream);
  s.done.hold(s.own.get());
  // Outside a capture first: memory is allocated, and kernels are loaded.
  s.queue(s.own.get());
  check(cudaStreamSynchronize(s.own.get()), "waiting for the device");
  s.capture();
}

Replay::~Replay() {
  if (state_ == nullptr) return;
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(state_->device);
  cudaStreamWaitEvent(state_->own.get(), state_->done.get(), 0);
  state_.reset();
  cudaSetDevice(before);
}

void Replay::launch(void* stream) {
  State& s = *state_;
  const DeviceScope scope(s.device);
  const auto on = static_cast<cudaStream_t>(stream);
  if (is_capturing(on)) return s.queue(on);
  check(cudaGraphLaunch(s.graph, on), "launching a graph");
  s.done.record(on);
  s.gallery.read_on(stream);
}

int64_t Replay::nonfinite_query(void* stream) const {
  const DeviceScope scope(state_->device);
  const auto on = static_cast<cudaStream_t>(stream);
  check_not_capturing(on);
  const NonFinite bad = fetch(state_->found, on);
  return bad.count > 0 ? bad.first : -1;
}

}  // namespace idsim::cuda

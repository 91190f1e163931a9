// A top-k search that is made once and launched many times, for whatever the memory of its queries then holds.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/search.hpp"

namespace idsim::cuda {

class Replay {
 public:
  // queries [q, d], scores [q, k] and ids [q, k] on the gallery's device; all must outlive this. Runs once and waits.
  // options: without labels. Throws DeviceMemoryError, CudaError.
  Replay(const Matrix& queries, const PreparedGallery& gallery, const QueryOptions& options,
         int64_t k, float threshold, float* scores, int64_t* ids, const Target& target);
  // Frees when launches of its own are done; a graph that holds a launch must be gone.
  ~Replay();

  // In stream order; the host neither waits nor allocates, so that a stream that is captured can take it. A query with NaN
  // or Inf gets no results, only padding. One launch at a time.
  void launch(void* stream);
  // The first query with NaN or Inf in the last launch, -1 where there is none. Waits for the stream.
  int64_t nonfinite_query(void* stream) const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace idsim::cuda

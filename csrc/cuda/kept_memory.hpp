// Memory that the same sequence of allocations gets again each time that it runs, so that work can be queued anew without
// an allocation, and captured.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace idsim::cuda {

class KeptMemory {
 public:
  // stream: of the current device; memory is allocated and freed in its order.
  explicit KeptMemory(cudaStream_t stream);
  ~KeptMemory();
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  // The next block of the sequence; in the first run it is allocated. Throws CudaError where a later run asks for more.
  void* next(size_t bytes);

  // What the calling thread allocates comes from a memory, from its first block on, and is not freed.
  class Scope {
   public:
    explicit Scope(KeptMemory& memory);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };
  static KeptMemory* of_this_thread();

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  cudaStream_t stream_;
  int device_ = 0;
  std::vector<Block> blocks_;
  size_t next_ = 0;
  bool complete_ = false;
};

}  // namespace idsim::cuda

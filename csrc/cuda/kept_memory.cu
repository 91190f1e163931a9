#include "cuda/kept_memory.hpp"

#include <utility>

#include "cuda/runtime.hpp"

namespace idsim::cuda {
namespace {

thread_local KeptMemory* in_use = nullptr;

}  // namespace

KeptMemory::KeptMemory(cudaStream_t stream) : stream_(stream) {
  check(cudaGetDevice(&device_), "asking for the current device");
}

KeptMemory::~KeptMemory() {
  for (const Block& block : blocks_) free_on(device_, block.data, stream_);
}

void* KeptMemory::next(size_t bytes) {
  if (!complete_) {
    blocks_.reserve(blocks_.size() + 1);
    KeptMemory* mine = std::exchange(in_use, nullptr);
    try {
      blocks_.push_back({allocate(bytes, stream_), bytes});
    } catch (...) {
      in_use = mine;
      throw;
    }
    in_use = mine;
  }
  if (next_ == blocks_.size() || blocks_[next_].bytes < bytes) {
    throw CudaError("work that is queued again asks for other memory than the first time");
  }
  return blocks_[next_++].data;
}

KeptMemory::Scope::Scope(KeptMemory& memory) {
  memory.next_ = 0;
  in_use = &memory;
}

KeptMemory::Scope::~Scope() { std::exchange(in_use, nullptr)->complete_ = true; }

KeptMemory* KeptMemory::of_this_thread() { return in_use; }

}  // namespace idsim::cuda

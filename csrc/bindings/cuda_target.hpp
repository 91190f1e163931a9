// Where work on a CUDA device goes, as Python says it.
#pragma once

#include <cstdint>

#include "cuda/search.hpp"

namespace idsim::bindings {

// stream: the number of a cudaStream_t, 0 for the legacy default stream.
inline cuda::Target target_of(int device, uintptr_t stream) {
  return {device, reinterpret_cast<void*>(stream)};
}

}  // namespace idsim::bindings

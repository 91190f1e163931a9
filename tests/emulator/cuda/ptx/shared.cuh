// The emulator's counterpart of csrc/cuda/ptx/shared.cuh.
#pragma once

#include <cuda_runtime.h>

namespace idsim::cuda::ptx {

inline char* shared_memory() { return emulator::shared_memory(); }

}  // namespace idsim::cuda::ptx

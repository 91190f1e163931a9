// The emulator's counterpart of csrc/cuda/ptx/cluster.cuh.
#pragma once

#include <cuda_runtime.h>

namespace idsim::cuda::ptx {

inline unsigned cluster_rank() { return emulator::cluster_rank(); }
inline void cluster_sync() { emulator::cluster_barrier(); }

}  // namespace idsim::cuda::ptx

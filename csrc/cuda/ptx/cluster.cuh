// Clusters: blocks that run at the same time and reach each other's shared memory.
#pragma once

#include <cuda_runtime.h>

#include "cuda/ptx/sm90a.cuh"

namespace idsim::cuda::ptx {

// This block's number in its cluster.
__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank = 0;
  IDSIM_SM90A("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// A barrier of all threads of the cluster; the lanes of a warp need not come together.
__device__ __forceinline__ void cluster_sync() {
  IDSIM_SM90A(
      "barrier.cluster.arrive.release;\n"
      "barrier.cluster.wait.acquire;" :: : "memory");
}

}  // namespace idsim::cuda::ptx

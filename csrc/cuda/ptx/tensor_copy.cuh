// TMA: copies of a box of a tensor map (cuda/tensor_map.hpp) to shared memory, beside everything else. What lies outside
// of the tensor comes as zeros, and its bytes count all the same.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/ptx/barrier.cuh"
#include "cuda/ptx/sm90a.cuh"

namespace idsim::cuda::ptx {

// The box that begins at element x of row y. `shared` is aligned to 1024 bytes, so that the swizzle begins anew there.
// The bytes are reported to the barrier. By one thread.
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap* map, int x, int y,
                                         Barrier* barrier) {
  IDSIM_SM90A(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], [%4];" ::"r"(shared_address(shared)),
      "l"(map), "r"(x), "r"(y), "r"(shared_address(barrier)) : "memory");
}

// The same to every block of the cluster whose bit is set in `ctas`: to the same place, and to the barrier at the same
// place.
__device__ __forceinline__ void copy_box_to(void* shared, const CUtensorMap* map, int x, int y,
                                            Barrier* barrier, uint16_t ctas) {
  IDSIM_SM90A(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(shared)),
      "l"(map), "r"(x), "r"(y), "r"(shared_address(barrier)), "h"(ctas) : "memory");
}

// The first copy with this map will not have to wait for it.
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  IDSIM_SM90A("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

}  // namespace idsim::cuda::ptx

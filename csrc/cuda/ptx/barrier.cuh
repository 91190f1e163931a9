// mbarrier: a phase is over when the arrivals of the barrier have come, and the bytes that were expected of
// asynchronous copies. Phases alternate in parity, from 0.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/ptx/sm90a.cuh"

namespace idsim::cuda::ptx {

// In shared memory, aligned to 8 bytes.
using Barrier = uint64_t;

// By one thread. Others may use the barrier after barrier_init_fence of that thread and a barrier of the block, or of
// the cluster where other blocks use it.
__device__ __forceinline__ void barrier_init(Barrier* barrier, unsigned arrivals) {
  IDSIM_SM90A("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
              "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_init_fence() {
  IDSIM_SM90A("fence.mbarrier_init.release.cluster;" :: : "memory");
}

__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
  IDSIM_SM90A("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// At the barrier that lies at the same place in block `cta` of the cluster. It says that this thread is done with something,
// and no more: what it wrote is not made visible to other blocks (release.cluster would, with a fence of the whole device
// at every arrival).
__device__ __forceinline__ void barrier_arrive_at(Barrier* barrier, unsigned cta) {
  IDSIM_SM90A(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(cta) : "memory");
}

// Arrives, and has the phase wait for `bytes` of asynchronous copies, all of those of the phase together.
__device__ __forceinline__ void barrier_expect(Barrier* barrier, unsigned bytes) {
  IDSIM_SM90A(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes) : "memory");
}

// Returns once the phase of this parity is over. On a fresh barrier the phase of parity 1 counts as over.
__device__ __forceinline__ void barrier_wait(Barrier* barrier, unsigned parity) {
  IDSIM_SM90A(
      "{\n"
      ".reg .pred over;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
      "@!over bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity) : "memory");
}

// What this thread wrote to shared memory comes before what tensor copies and tensor cores do there afterwards.
__device__ __forceinline__ void fence_async() { IDSIM_SM90A("fence.proxy.async;" :: : "memory"); }

}  // namespace idsim::cuda::ptx

// What runs beside the threads of a block: mbarriers, and the copies to shared memory that report to them.
//
// A barrier is known by its place in shared memory; a launch fails where one is used that was not initialised, or is
// given more arrivals or bytes than its phase expects. Tensor copies take effect at once with Schedule::in_turn, so that
// one into a stage that is still read shows; with the others they take effect only when no thread can go on, so that
// reading before waiting shows: the oldest first (Schedule::first) or the newest.
#pragma once

#include <cuda.h>

namespace emulator {

void barrier_init(void* barrier, unsigned arrivals);
// Arrives, and expects `bytes` of copies in this phase.
void barrier_arrive(void* barrier, unsigned bytes);
// At the barrier at the same place in block `cta` of the cluster.
void barrier_arrive_at(void* barrier, unsigned cta);
// Until the phase of this parity is over.
void barrier_wait(void* barrier, unsigned parity);

// The box at element x of row y, to every block of the cluster whose bit is set in `ctas`.
void tensor_copy(void* shared, const CUtensorMap& map, int x, int y, void* barrier, unsigned ctas);

}  // namespace emulator

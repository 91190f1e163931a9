// Which tile kernels a device's scans use. It changes the work, never the answer.
#pragma once

#include "core/tile_plan.hpp"

namespace idsim::cuda {

// mma: mma.sync, on every device (cuda/tile.cuh). wgmma: the warp-group products of compute capability 9.0
// (cuda/tile_sm90.cuh), with galleries whose codes are ordered (cuda/ordering.hpp).
enum class TileTier { mma, wgmma };

// mma, unless the environment variable IDSIM_CUDA_TILES says "wgmma". Throws CudaError where it says what is not known
// or what `device` does not have.
TileTier tile_tier(int device);

// What the current device offers the scans.
TileDevice tile_device();

}  // namespace idsim::cuda

#include "cuda/tiles.hpp"

#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "cuda/launch.cuh"
#include "cuda/runtime.hpp"

namespace idsim::cuda {
namespace {

constexpr const char* kVariable = "IDSIM_CUDA_TILES";

}  // namespace

TileTier tile_tier(int device) {
  const char* text = std::getenv(kVariable);
  const std::string_view asked = text == nullptr ? "" : text;
  if (asked.empty() || asked == "mma") return TileTier::mma;
  if (asked != "wgmma") {
    throw CudaError(std::string(kVariable) + " is \"" + text + "\": it can be mma or wgmma");
  }
  const DeviceScope scope(device);
  const int major = device_attribute(cudaDevAttrComputeCapabilityMajor);
  const int minor = device_attribute(cudaDevAttrComputeCapabilityMinor);
  if (major != 9 || minor != 0) {
    throw CudaError(
        std::string(kVariable) + " is wgmma, which needs compute capability 9.0; device " +
        std::to_string(device) + " has " + std::to_string(major) + "." + std::to_string(minor));
  }
  return TileTier::wgmma;
}

TileDevice tile_device() {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  return {tile_tier(device) == TileTier::wgmma, device_attribute(cudaDevAttrMultiProcessorCount),
          device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

}  // namespace idsim::cuda

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

int capability(int device) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "asking for an attribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "asking for an attribute");
  return 10 * major + minor;
}

}  // namespace

TileTier tile_tier(int device) {
  const char* text = std::getenv(kVariable);
  const std::string_view asked = text == nullptr ? "" : text;
  if (asked.empty() || asked == "mma") return TileTier::mma;
  if (asked != "wgmma") {
    throw CudaError(std::string(kVariable) + " is \"" + text + "\": it can be mma or wgmma");
  }
  const int has = capability(device);
  if (has != 90) {
    throw CudaError(std::string(kVariable) +
                    " is wgmma, which needs compute capability 9.0; device " +
                    std::to_string(device) + " has " + std::to_string(has / 10) + "." +
                    std::to_string(has % 10));
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

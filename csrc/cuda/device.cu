#include "cuda/device.hpp"

#include <string>

#include "core/precision.hpp"
#include "cuda/runtime.hpp"

namespace idsim::cuda {
namespace {

// int8 tensor products of the shape that the tile kernel uses.
constexpr int kLeastMajor = 8;

std::string why_no_device(int* usable) {
  *usable = 0;
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess) {
    cudaGetLastError();
    // What the runtime reports where there is no driver at all, too.
    if (error == cudaErrorInsufficientDriver) {
      return "There is no NVIDIA driver, or it is too old for this build.";
    }
    return std::string("The CUDA runtime reports: ") + cudaGetErrorString(error) + ".";
  }
  if (devices == 0) return "There is no CUDA device.";
  for (int i = 0; i < devices; ++i) {
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) != cudaSuccess) {
      cudaGetLastError();
      continue;
    }
    if (major >= kLeastMajor) ++*usable;
  }
  if (*usable > 0) return "";
  return "No device has compute capability 8.0 (Ampere) or newer.";
}

}  // namespace

BackendStatus backend_status() {
  static int usable = 0;
  static const std::string reason = why_no_device(&usable);
#if defined(IDSIM_CUDA_EMULATED)
  constexpr bool emulated = true;
#else
  constexpr bool emulated = false;
#endif
  return {true, emulated, usable, reason.c_str()};
}

bool int8_tensor_cores(int device) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "asking for an attribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "asking for an attribute");
  return has_int8_tensor_cores(major, minor);
}

DeviceMemory device_memory(int device) {
  const DeviceScope scope(device);
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free memory");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace idsim::cuda

// Launches of kernels, and functions of the driver. Included by cuda_runtime.h.
#pragma once

#include <cuda.h>

#include <cstdio>
#include <cstring>

enum cudaLaunchAttributeID { cudaLaunchAttributeClusterDimension = 4 };
union cudaLaunchAttributeValue {
  struct {
    unsigned x, y, z;
  } clusterDim;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace emulator {

inline Launch launch_of(const cudaLaunchConfig_t& config) {
  Launch launch{config.gridDim, config.blockDim, {1, 1, 1}, config.dynamicSmemBytes};
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const auto& dim = config.attrs[i].val.clusterDim;
    launch.cluster = {dim.x, dim.y, dim.z};
  }
  return launch;
}

}  // namespace emulator

template <class... Wanted, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Wanted...),
                               Given... given) {
  emulator::note(emulator::kLaunches);
  const int device = emulator::current_device;
  const emulator::Launch launch = emulator::launch_of(*config);
  if (!emulator::is_whole(launch)) return emulator::report(cudaErrorInvalidValue);
  return emulator::queue(
      config->stream,
      [=] {
        if ((emulator::is_foreign<Wanted>(static_cast<Wanted>(given), device) || ...)) {
          std::fprintf(stderr,
                       "emulator: a kernel on device %d was given memory of another device\n",
                       device);
          return cudaErrorIllegalAddress;
        }
        const bool done =
            emulator::run_grid(launch, [&] { kernel(static_cast<Wanted>(given)...); });
        return done ? cudaSuccess : cudaErrorLaunchFailure;
      },
      true);
}

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel*,
                                           const cudaLaunchConfig_t* config) {
  const emulator::Launch launch = emulator::launch_of(*config);
  *clusters = static_cast<int>(emulator::kMultiprocessors / launch.cluster.x);
  return emulator::status();
}

enum { cudaEnableDefault = 0 };
enum cudaDriverEntryPointQueryResult {
  cudaDriverEntryPointSuccess,
  cudaDriverEntryPointSymbolNotFound,
  cudaDriverEntryPointVersionNotSufficent
};
inline cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                    unsigned long long,
                                                    cudaDriverEntryPointQueryResult* result) {
  const bool is = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *function = is ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *result = is ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return emulator::status();
}

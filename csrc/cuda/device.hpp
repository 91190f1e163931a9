// What the rest of the engine knows of the CUDA backend. Exactly one source of this folder defines it:
// unavailable.cpp in builds without CUDA.
#pragma once

#include <cstdint>

namespace idsim::cuda {

struct BackendStatus {
  bool built;          // the backend was compiled in
  bool emulated;       // for tests, against an emulator of the device on the CPU
  int devices;         // usable devices; 0 where the backend was not built
  const char* reason;  // why there is no usable device, as a sentence; empty when there is one
};

BackendStatus backend_status();

struct DeviceMemory {
  int64_t free, total;  // bytes
};

// Throws CudaError.
DeviceMemory device_memory(int device);
// core/precision.hpp. Throws CudaError.
bool int8_tensor_cores(int device);

}  // namespace idsim::cuda

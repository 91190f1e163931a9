// CUDA's words, error codes and small types. Included by cuda_runtime.h.
#pragma once

#include "emulator.hpp"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr cudaError_t cudaErrorInvalidValue = 1;
inline constexpr cudaError_t cudaErrorMemoryAllocation = 2;
inline constexpr cudaError_t cudaErrorInsufficientDriver = 35;
inline constexpr cudaError_t cudaErrorInvalidDevice = 101;
inline constexpr cudaError_t cudaErrorECCUncorrectable = 214;
inline constexpr cudaError_t cudaErrorNvlinkUncorrectable = 220;
inline constexpr cudaError_t cudaErrorInvalidResourceHandle = 400;
inline constexpr cudaError_t cudaErrorIllegalAddress = 700;
inline constexpr cudaError_t cudaErrorLaunchTimeout = 702;
inline constexpr cudaError_t cudaErrorContextIsDestroyed = 709;
inline constexpr cudaError_t cudaErrorAssert = 710;
inline constexpr cudaError_t cudaErrorHardwareStackError = 714;
inline constexpr cudaError_t cudaErrorIllegalInstruction = 715;
inline constexpr cudaError_t cudaErrorMisalignedAddress = 716;
inline constexpr cudaError_t cudaErrorInvalidAddressSpace = 717;
inline constexpr cudaError_t cudaErrorInvalidPc = 718;
inline constexpr cudaError_t cudaErrorLaunchFailure = 719;
inline constexpr cudaError_t cudaErrorNotSupported = 801;
inline constexpr cudaError_t cudaErrorMpsClientTerminated = 810;
inline constexpr cudaError_t cudaErrorStreamCaptureUnsupported = 900;
inline constexpr cudaError_t cudaErrorStreamCaptureInvalidated = 901;
inline constexpr cudaError_t cudaErrorStreamCaptureImplicit = 906;
inline constexpr cudaError_t cudaErrorUnknown = 999;

using cudaStream_t = struct EmulatedStream*;

struct dim3 : emulator::Index {
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : Index{x_, y_, z_} {}
};
inline emulator::Index& threadIdx = emulator::current.thread;
inline emulator::Index& blockIdx = emulator::current.block;
inline emulator::Index& blockDim = emulator::current.block_dim;
inline emulator::Index& gridDim = emulator::current.grid_dim;

struct int2 {
  int x, y;
};
struct int4 {
  int x, y, z, w;
};
struct uint4 {
  unsigned x, y, z, w;
};
inline int2 make_int2(int x, int y) { return {x, y}; }

enum cudaMemcpyKind {
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrHostRegisterReadOnlySupported
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "invalid argument";
  }
}

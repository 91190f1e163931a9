// CUDA's C++ dialect and runtime, as far as csrc/cuda uses them, on the emulator. Streams run at once; there is one
// device whose memory is the host's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "emulator.hpp"
#include "faults.hpp"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr cudaError_t cudaErrorInvalidValue = 1;
inline constexpr cudaError_t cudaErrorMemoryAllocation = 2;
inline constexpr cudaError_t cudaErrorECCUncorrectable = 214;
inline constexpr cudaError_t cudaErrorNvlinkUncorrectable = 220;
inline constexpr cudaError_t cudaErrorIllegalAddress = 700;
inline constexpr cudaError_t cudaErrorNotSupported = 801;
inline constexpr cudaError_t cudaErrorLaunchTimeout = 702;
inline constexpr cudaError_t cudaErrorContextIsDestroyed = 709;
inline constexpr cudaError_t cudaErrorAssert = 710;
inline constexpr cudaError_t cudaErrorHardwareStackError = 714;
inline constexpr cudaError_t cudaErrorIllegalInstruction = 715;
inline constexpr cudaError_t cudaErrorMisalignedAddress = 716;
inline constexpr cudaError_t cudaErrorInvalidAddressSpace = 717;
inline constexpr cudaError_t cudaErrorInvalidPc = 718;
inline constexpr cudaError_t cudaErrorLaunchFailure = 719;
inline constexpr cudaError_t cudaErrorMpsClientTerminated = 810;
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

namespace emulator {

// Sticky until read, like CUDA's.
inline cudaError_t& last_error() {
  thread_local cudaError_t error = cudaSuccess;
  return error;
}
inline cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error() = error;
  return error;
}
// Success, or the error that a lost context answers with.
inline cudaError_t status(bool launch = false) { return report(lost_context(launch)); }

}  // namespace emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  if (error == cudaErrorLaunchFailure) return "unspecified launch failure";
  if (error == cudaErrorIllegalAddress) return "an illegal memory access was encountered";
  return error == cudaSuccess ? "no error" : "invalid argument";
}
inline cudaError_t cudaGetLastError() {
  const cudaError_t error = emulator::last_error();
  emulator::last_error() = cudaSuccess;
  return error;
}
inline cudaError_t cudaPeekAtLastError() { return emulator::last_error(); }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  return emulator::report(device == 0 ? cudaSuccess : cudaErrorInvalidValue);
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 99 * 1024;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrHostRegisterReadOnlySupported:
      *value = 1;
      break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = emulator::device_memory.left();
  *total = emulator::device_memory.total();
  return emulator::status();
}
using cudaMemPool_t = struct EmulatedPool*;
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
inline cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) {
  if (emulator::status() != cudaSuccess) return emulator::status();
  *p = emulator::device_memory.take(bytes);
  if (*p == nullptr) return emulator::report(cudaErrorMemoryAllocation);
  std::memset(*p, 0xA5, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t) {
  emulator::device_memory.give_back(p);
  return emulator::status();
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return emulator::status();
}
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) {
  std::memset(p, value, bytes);
  return emulator::status();
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  emulator::status();
  return cudaGetLastError();
}
inline cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }
inline cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = emulator::pinned_memory.take(bytes);
  return *p == nullptr ? emulator::report(cudaErrorMemoryAllocation) : emulator::status();
}
inline cudaError_t cudaFreeHost(void* p) {
  emulator::pinned_memory.give_back(p);
  return cudaSuccess;
}

inline constexpr unsigned cudaHostRegisterPortable = 1;
inline constexpr unsigned cudaHostRegisterMapped = 2;
inline constexpr unsigned cudaHostRegisterReadOnly = 8;
inline cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  if (!emulator::registered_memory.add(p, bytes)) return emulator::report(cudaErrorNotSupported);
  return emulator::status();
}
inline cudaError_t cudaHostUnregister(void* p) {
  const bool was = emulator::registered_memory.remove(p);
  return was ? cudaSuccess : emulator::report(cudaErrorInvalidValue);
}
inline cudaError_t cudaHostGetDevicePointer(void** seen, void* p, unsigned) {
  *seen = p;
  const bool is = emulator::registered_memory.holds(p);
  return is ? cudaSuccess : emulator::report(cudaErrorInvalidValue);
}
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  auto* address = const_cast<void*>(p);
  const bool is = emulator::registered_memory.holds(p);
  *out = {is ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered, 0, is ? address : nullptr, address};
  return emulator::status();
}

// Streams run at once, so that every event has come when it is recorded.
using cudaEvent_t = int*;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new int;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(new int);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<int*>(stream);
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

template <class... Wanted, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Wanted...),
                               Given... given) {
  if (emulator::status(true) != cudaSuccess) return emulator::status();
  const bool done = emulator::run_grid(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                                       [&] { kernel(static_cast<Wanted>(given)...); });
  return emulator::report(done ? cudaSuccess : cudaErrorLaunchFailure);
}

// --- Device functions ---

inline void __syncthreads() { emulator::block_barrier(); }

namespace emulator {

template <class T>
struct Shuffle {
  T value;
  int from;
};

enum Kind { kSync, kShuffle, kBallot, kMma };

}  // namespace emulator

inline void __syncwarp(unsigned mask = ~0U) {
  emulator::warp_collective(mask, emulator::kSync, [](void**, unsigned) {}, nullptr);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
  emulator::Shuffle<T> mine{value, from & 31};
  emulator::warp_collective(
      mask, emulator::kShuffle,
      [](void** lanes, unsigned) {
        T before[32] = {};
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr) before[i] = static_cast<emulator::Shuffle<T>*>(lanes[i])->value;
        }
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] == nullptr) continue;
          auto* lane = static_cast<emulator::Shuffle<T>*>(lanes[i]);
          lane->value = before[lane->from];
        }
      },
      &mine);
  return mine.value;
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int by) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  return __shfl_sync(mask, value, lane + by < 32 ? lane + by : lane);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by) {
  return __shfl_sync(mask, value, (static_cast<int>(threadIdx.x) & 31) ^ by);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  struct Vote {
    bool yes;
    unsigned result;
  } mine{predicate != 0, 0};
  emulator::warp_collective(
      mask, emulator::kBallot,
      [](void** lanes, unsigned) {
        unsigned result = 0;
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr && static_cast<Vote*>(lanes[i])->yes) result |= 1U << i;
        }
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr) static_cast<Vote*>(lanes[i])->result = result;
        }
      },
      &mine);
  return mine.result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  if (before < value) *at = value;
  return before;
}
template <class T>
T atomicMin(T* at, T value) {
  const T before = *at;
  if (value < before) *at = value;
  return before;
}

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}

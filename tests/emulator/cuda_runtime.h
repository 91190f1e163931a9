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
inline constexpr cudaError_t cudaErrorLaunchFailure = 719;

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
  cudaDevAttrComputeCapabilityMinor
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

namespace emulator {

// Sticky until read, like CUDA's.
inline cudaError_t& last_error() {
  static cudaError_t error = cudaSuccess;
  return error;
}
inline cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error() = error;
  return error;
}
// Bytes that cudaMalloc still gives; tests lower it.
inline size_t& memory_left() {
  static size_t bytes = size_t{1} << 40;
  return bytes;
}

}  // namespace emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  if (error == cudaErrorLaunchFailure) return "unspecified launch failure";
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
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = emulator::memory_left();
  *total = size_t{1} << 40;
  return cudaSuccess;
}
inline cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) {
  if (bytes > emulator::memory_left()) return emulator::report(cudaErrorMemoryAllocation);
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*p == nullptr) return emulator::report(cudaErrorMemoryAllocation);
  std::memset(*p, 0xA5, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t) {
  std::free(p);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) {
  std::memset(p, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaGetLastError(); }
inline cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = std::malloc(bytes);
  return *p == nullptr ? emulator::report(cudaErrorMemoryAllocation) : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
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

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, size_t) {
  *blocks = 2;
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

// CUDA's C++ dialect and runtime, as far as csrc/cuda uses them, on the emulator. Streams run at once, or are captured.
// Memory of the devices is the host's, but a kernel that is given another device's is refused.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "emulator.hpp"
#include "faults.hpp"
#include "machine.hpp"
#include "runtime_types.hpp"

namespace emulator {

// Sticky until read, like CUDA's.
inline cudaError_t& last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}
inline cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error() = error;
  return error;
}
// Success, or the error that a lost context answers with.
inline cudaError_t status(bool launch = false) { return report(lost_context(launch)); }
// Whether an argument of a kernel points into memory of another device. Padding holds stale bytes, pointers too.
template <class T>
bool is_foreign(T argument, int device) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&argument);
#endif
#endif
  return points_elsewhere(&argument, sizeof argument, device);
}
// The default streams have no object.
inline bool is_default(cudaStream_t stream) { return reinterpret_cast<uintptr_t>(stream) <= 2; }
inline Graph* capture_of(cudaStream_t stream) {
  return is_default(stream) ? nullptr : stream->capture;
}
inline bool is_pageable(const void* p) {
  return owner_of(p) == kPageable && !registered_memory.holds(p);
}
// Runs work now, or when the stream's graph is launched.
template <class Work>
cudaError_t queue(cudaStream_t stream, const Work& work, bool launch = false) {
  if (status(launch) != cudaSuccess) return status();
  if (!is_default(stream) && stream->device != current_device) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (Graph* graph = capture_of(stream)) {
    graph->nodes.push_back(work);
    return cudaSuccess;
  }
  return report(work());
}
// A call that a stream that is captured does not allow.
inline bool breaks_capture(cudaStream_t stream) {
  Graph* graph = capture_of(stream);
  if (graph != nullptr) graph->broken = true;
  return graph != nullptr;
}

}  // namespace emulator

inline cudaError_t cudaGetLastError() {
  const cudaError_t error = emulator::last_error();
  emulator::last_error() = cudaSuccess;
  return error;
}
inline cudaError_t cudaPeekAtLastError() { return emulator::last_error(); }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulator::device_count();
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = emulator::current_device;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= emulator::device_count()) {
    return emulator::report(cudaErrorInvalidDevice);
  }
  emulator::current_device = device;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = emulator::kMultiprocessors;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value =
          emulator::number_from("IDSIM_EMULATED_CAPABILITY", 80) == 90 ? 227 * 1024 : 99 * 1024;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = static_cast<int>(emulator::number_from("IDSIM_EMULATED_CAPABILITY", 80) / 10);
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = static_cast<int>(emulator::number_from("IDSIM_EMULATED_CAPABILITY", 80) % 10);
      break;
    case cudaDevAttrHostRegisterReadOnlySupported:
      *value = 1;
      break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = emulator::memory_left(emulator::current_device);
  *total = emulator::memory_of(emulator::current_device);
  return emulator::status();
}
using cudaMemPool_t = struct EmulatedPool*;
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
inline cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  if (emulator::status() != cudaSuccess) return emulator::status();
  if (emulator::breaks_capture(stream)) return emulator::report(cudaErrorStreamCaptureUnsupported);
  emulator::note(emulator::kAllocations);
  *p = emulator::allocate(emulator::current_device, bytes);
  return emulator::report(*p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (emulator::breaks_capture(stream)) return emulator::report(cudaErrorStreamCaptureUnsupported);
  const int owner = emulator::owner_of(p);
  if (owner != emulator::current_device) return emulator::report(cudaErrorInvalidValue);
  if (!emulator::release(p)) return emulator::report(cudaErrorInvalidValue);
  return emulator::status();
}
// A copy that touches pageable memory of the host waits for it.
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
  const bool pageable = emulator::is_pageable(to) || emulator::is_pageable(from);
  if (pageable && bytes > 0) {
    emulator::note(emulator::kPageableCopies);
    if (emulator::breaks_capture(stream))
      return emulator::report(cudaErrorStreamCaptureUnsupported);
  }
  return emulator::queue(stream, [=] {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}
inline cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device,
                                       size_t bytes, cudaStream_t stream) {
  if (emulator::owner_of(to) != to_device || emulator::owner_of(from) != from_device) {
    return emulator::report(cudaErrorInvalidValue);
  }
  return emulator::queue(stream, [=] {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const int device = emulator::current_device;
  return emulator::queue(stream, [=] {
    if (emulator::points_elsewhere(&p, sizeof p, device)) return cudaErrorIllegalAddress;
    std::memset(p, value, bytes);
    return cudaSuccess;
  });
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  emulator::note(emulator::kStreamWaits);
  if (emulator::breaks_capture(stream)) return emulator::report(cudaErrorStreamCaptureUnsupported);
  emulator::status();
  return cudaGetLastError();
}
inline cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }
inline cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = emulator::allocate(emulator::kPinned, bytes);
  return *p == nullptr ? emulator::report(cudaErrorMemoryAllocation) : emulator::status();
}
inline cudaError_t cudaFreeHost(void* p) {
  return emulator::report(emulator::release(p) ? cudaSuccess : cudaErrorInvalidValue);
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
  *event = new int(emulator::current_device);
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const int device = emulator::is_default(stream) ? emulator::current_device : stream->device;
  return emulator::report(device == *event ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) {
  emulator::note(emulator::kEventWaits);
  return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  emulator::note(emulator::kStreamOrders);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream{emulator::current_device, nullptr};
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

// A graph is what was captured, and its own executable.
using cudaGraph_t = emulator::Graph*;
using cudaGraphExec_t = emulator::Graph*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (emulator::is_default(stream) || stream->capture != nullptr) {
    return emulator::report(cudaErrorStreamCaptureUnsupported);
  }
  stream->capture = new emulator::Graph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  if (*graph == nullptr) return emulator::report(cudaErrorInvalidValue);
  if (!(*graph)->broken) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return emulator::report(cudaErrorStreamCaptureInvalidated);
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = emulator::capture_of(stream) == nullptr ? cudaStreamCaptureStatusNone
                                                    : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                        unsigned long long) {
  *exec = new emulator::Graph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (emulator::breaks_capture(stream)) return emulator::report(cudaErrorStreamCaptureUnsupported);
  for (const auto& node : exec->nodes) {
    if (const cudaError_t error = node(); error != cudaSuccess) return emulator::report(error);
  }
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  int most = 0;
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, emulator::current_device);
  return emulator::report(bytes <= most ? cudaSuccess : cudaErrorInvalidValue);
}

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, size_t) {
  *blocks = 2;
  return cudaSuccess;
}

#include "device_functions.hpp"
#include "launch.hpp"

// The CUDA runtime with C++ errors and owners.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "cuda/kept_memory.hpp"

namespace idsim::cuda {

// There is no room for `bytes` more: on the device, or page-locked on the host.
class DeviceMemoryError : public std::bad_alloc {
 public:
  explicit DeviceMemoryError(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// Whether nothing can be done on the device any more once it was reported.
bool loses_context(cudaError_t error);

// Throws DeviceMemoryError or CudaError; the latter says so where the context is lost with the error.
[[noreturn]] void fail(cudaError_t error, const char* doing);

inline void check(cudaError_t error, const char* doing) {
  if (error != cudaSuccess) fail(error, doing);
}

// Memory of the current device, in stream order. Throws DeviceMemoryError with what is free.
void* allocate(size_t bytes, cudaStream_t stream);

// make(size), with half the size for as long as there is no room, down to `least`. size: what it was made with.
template <class Make>
auto made_to_fit(int64_t* size, int64_t least, const Make& make) {
  for (;;) {
    try {
      return make(*size);
    } catch (const DeviceMemoryError&) {
      if (*size <= least) throw;
      *size = *size / 2 > least ? *size / 2 : least;
    }
  }
}

// Makes a device current for as long as it lives.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    check(cudaGetDevice(&before_), "asking for the current device");
    check(cudaSetDevice(device), "choosing a device");
  }
  ~DeviceScope() { cudaSetDevice(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

inline bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &status);
  // What the default stream says while another stream, which it waits for, is captured.
  if (error == cudaErrorStreamCaptureImplicit) return cudaGetLastError() != cudaSuccess;
  check(error, "asking for a capture");
  return status != cudaStreamCaptureStatusNone;
}

// For work that has to wait for the device, before it spoils the capture.
inline void check_not_capturing(cudaStream_t stream) {
  if (!is_capturing(stream)) return;
  throw CudaError(
      "the stream is being captured, and this waits for the device; Index.capture makes a search "
      "that can be "
      "captured");
}

// Frees in order of a stream of `device`, whichever is current: the default stream is the current device's.
inline void free_on(int device, void* p, cudaStream_t stream) {
  int before = 0;
  cudaGetDevice(&before);
  if (before != device) cudaSetDevice(device);
  cudaFreeAsync(p, stream);
  if (before != device) cudaSetDevice(before);
}

// Memory of the current device, in stream order, not initialised.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(int64_t count, cudaStream_t stream) : count_(count), stream_(stream) {
    const size_t bytes = static_cast<size_t>(count > 0 ? count : 1) * sizeof(T);
    KeptMemory* kept = KeptMemory::of_this_thread();
    owned_ = kept == nullptr;
    data_ = static_cast<T*>(owned_ ? allocate(bytes, stream) : kept->next(bytes));
    cudaGetDevice(&device_);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr && owned_) free_on(device_, data_, stream_);
  }

  T* data() const { return data_; }
  // The caller frees it.
  T* release() { return std::exchange(data_, nullptr); }
  int64_t size() const { return count_; }

  void upload(const T* from, int64_t count) {
    check(cudaMemcpyAsync(data_, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDefault,
                          stream_),
          "copying to the device");
  }
  void set_bytes(int value) {
    check(cudaMemsetAsync(data_, value, static_cast<size_t>(count_) * sizeof(T), stream_),
          "filling device memory");
  }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(stream_, other.stream_);
    std::swap(device_, other.device_);
    std::swap(owned_, other.owned_);
  }

  T* data_ = nullptr;
  int64_t count_ = 0;
  cudaStream_t stream_ = nullptr;
  int device_ = 0;
  bool owned_ = true;
};

}  // namespace idsim::cuda

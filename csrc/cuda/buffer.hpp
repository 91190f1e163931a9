// Memory of a device that an array library may come to own: results, and copies of rows of another device.
#pragma once

#include <cstdint>

#include "cuda/search.hpp"

namespace idsim::cuda {

class Buffer {
 public:
  // Not initialised. Throws DeviceMemoryError, CudaError.
  Buffer(int64_t bytes, const Target& target);
  // Rows of another device without gaps, copied in order of both streams.
  Buffer(const MatrixView& rows, const Target& from, const Target& to);
  // Frees in order of the stream that it was handed to last.
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const Target& target() const { return target_; }

  // What is queued on `stream` from now on comes behind what is queued here.
  void hand_to(void* stream);

 private:
  Target target_;
  int64_t bytes_;
  void* data_ = nullptr;
};

// Copies results of the host to memory of a device. Waits.
void copy_to_device(const void* from, int64_t bytes, void* to, const Target& target);

}  // namespace idsim::cuda

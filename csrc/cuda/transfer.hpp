// Bytes on their way from the host to the device: page-locked memory, events, and parts through two pairs of buffers.
#pragma once

#include <cstdint>
#include <functional>
#include <future>

#include "cuda/runtime.hpp"

namespace idsim::cuda {

// Page-locked memory of the host, which the device copies from while the host goes on.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(int64_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept { std::swap(data_, other.data_); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  char* data() const { return data_; }

 private:
  char* data_ = nullptr;
};

class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream);
  void wait() const;                     // on the host
  void hold(cudaStream_t stream) const;  // what is queued on the stream from now on
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// A pair of buffers and the stream that copies from one to the other, beside the stream of the work.
class Lane {
 public:
  // to: where the bytes go; null: to a buffer of its own.
  Lane(int64_t bytes, bool own_target, cudaStream_t work);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // The pinned buffer, once what it held has been copied.
  char* free_pinned();
  // Copies `bytes` of it to the device, once the work that was queued before release() is done. to: null: the buffer of
  // the lane. Returns where they go.
  char* send(int64_t bytes, char* to = nullptr);
  // Lets the work that is queued from now on wait for the copy.
  void hold_work() const { copied_.hold(work_); }
  // The work that is queued so far is the last that reads the buffer on the device.
  void release() { used_.record(work_); }

 private:
  cudaStream_t work_;
  PinnedBuffer pinned_;
  DeviceBuffer<char> device_;
  Event copied_, used_;
  bool sent_ = false;
  cudaStream_t copies_ = nullptr;
};

// Parts that a thread fills on the host and sends to the device while the parts before are worked on.
class PartStream {
 public:
  // Writes rows first .. first + n, row_bytes each.
  using Fill = std::function<void(char* out, int64_t first, int64_t n)>;

  // stream: of the work on the parts. whole: null, or memory of the device for all rows, which then stay there.
  PartStream(int64_t rows, int64_t part_rows, int64_t row_bytes, Fill fill, cudaStream_t stream,
             char* whole = nullptr);

  struct Part {
    char* data;
    int64_t first;
    int64_t rows;  // 0: there is no more
  };
  // The next part, for work queued on the stream from now on; valid for work queued before the next call.
  Part next();

 private:
  static constexpr int64_t kLanes = 2;

  Part send(int64_t number);
  int64_t parts() const { return (rows_ + part_rows_ - 1) / part_rows_; }

  int64_t rows_, part_rows_, row_bytes_;
  Fill fill_;
  char* whole_;
  int device_ = 0;
  int64_t next_ = 0;
  Lane lanes_[kLanes];
  std::future<Part> coming_;  // waited for before the lanes go
};

}  // namespace idsim::cuda

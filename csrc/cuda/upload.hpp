// Rows on their way from the host, or from a file, to the device.
#pragma once

#include <cstdint>

#include "core/rows.hpp"
#include "cuda/runtime.hpp"
#include "cuda/search.hpp"

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

// Rows in parts. What lies on the device already is handed out as it is. Anything else is copied through two pinned and
// two device buffers on a stream of its own, so that a part is read and copied while the one before is worked on.
class RowStream {
 public:
  // stream: of the work on the parts. whole: null, or memory of the device for all rows, which then stay there, as
  // device_type() says.
  RowStream(const Matrix& rows, int64_t part_rows, cudaStream_t stream, char* whole = nullptr);
  ~RowStream();
  RowStream(const RowStream&) = delete;
  RowStream& operator=(const RowStream&) = delete;

  // The next part, for work queued on the stream from now on; valid for work queued before the next call. False: none.
  bool next(MatrixView* part, int64_t* first);

  // Elements as they arrive: the type of the rows, float32 where strided rows are made dense on the host.
  static DType device_type(const Matrix& rows);
  static int64_t device_row_bytes(const Matrix& rows);
  static bool is_dense(const Matrix& rows);

 private:
  struct Slot {
    PinnedBuffer pinned;
    DeviceBuffer<char> device;
    Event copied;  // from the pinned buffer
    Event used;    // the work on the device buffer
  };

  void fill(char* out, int64_t first, int64_t n) const;

  Matrix rows_;
  int64_t part_rows_;
  int64_t row_bytes_;
  cudaStream_t stream_;
  cudaStream_t copies_ = nullptr;
  char* whole_;
  Slot slots_[2];
  int64_t done_ = 0;
  int64_t parts_ = 0;
};

// Rows where the device can read them for as long as this lives: a view of what is there, or a copy.
class DeviceRows {
 public:
  DeviceRows(const Matrix& rows, cudaStream_t stream);
  const MatrixView& view() const { return view_; }
  int64_t bytes() const { return buffer_.size(); }

 private:
  MatrixView view_;
  DeviceBuffer<char> buffer_;
};

}  // namespace idsim::cuda

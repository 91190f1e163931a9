#include "cuda/upload.hpp"

#include <algorithm>
#include <cstring>

#include "core/threads.hpp"
#include "core/widen.hpp"

namespace idsim::cuda {
namespace {

// Of one part on its way: large enough for full transfer speed, small beside device memory.
constexpr int64_t kPartBytes = int64_t{32} << 20;
// Of the host's copy into pinned memory, per thread.
constexpr int64_t kCopyBytes = int64_t{1} << 20;

}  // namespace

PinnedBuffer::PinnedBuffer(int64_t bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMallocHost(&p, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceMemoryError("the host has no room for another " + std::to_string(bytes) +
                            " bytes of page-locked memory");
  }
  check(error, "allocating page-locked memory");
  data_ = static_cast<char*>(p);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

Event::Event() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event");
}
Event::~Event() { cudaEventDestroy(event_); }
void Event::record(cudaStream_t stream) {
  check(cudaEventRecord(event_, stream), "recording an event");
}
void Event::wait() const { check(cudaEventSynchronize(event_), "waiting for the device"); }
void Event::hold(cudaStream_t stream) const {
  check(cudaStreamWaitEvent(stream, event_, 0), "ordering streams");
}

CopyStream::~CopyStream() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}
void CopyStream::create() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
}

bool RowStream::is_dense(const Matrix& rows) {
  const int64_t size = element_bytes(rows.view.dtype);
  return rows.file.fd >= 0 ||
         (rows.view.col_stride == size && rows.view.row_stride == rows.view.cols * size);
}
DType RowStream::device_type(const Matrix& rows) {
  return rows.on_device || is_dense(rows) ? rows.view.dtype : DType::f32;
}
int64_t RowStream::device_row_bytes(const Matrix& rows) {
  return rows.on_device ? 0 : rows.view.cols * element_bytes(device_type(rows));
}

RowStream::RowStream(const Matrix& rows, int64_t part_rows, cudaStream_t stream, char* whole)
    : rows_(rows),
      part_rows_(part_rows),
      row_bytes_(device_row_bytes(rows)),
      stream_(stream),
      whole_(whole) {
  if (rows.on_device) return;
  copies_.create();
  const int64_t bytes = std::min(part_rows, rows.view.rows) * row_bytes_;
  for (Slot& slot : slots_) {
    slot.pinned = PinnedBuffer(bytes);
    if (whole == nullptr) slot.device = DeviceBuffer<char>(bytes, stream);
    // The buffers belong to the work stream; copies must not begin before they are there.
    slot.used.record(stream);
  }
}

void RowStream::fill(char* out, int64_t first, int64_t n) const {
  const MatrixView& view = rows_.view;
  const int64_t rows = std::max<int64_t>(1, kCopyBytes / row_bytes_);
  const auto copy = [&](int, int64_t item) {
    const int64_t begin = item * rows, count = std::min(rows, n - begin);
    char* to = out + begin * row_bytes_;
    const int64_t from = first + begin;
    if (rows_.file.fd >= 0) return read_file(rows_.file, from * row_bytes_, count * row_bytes_, to);
    const char* source = static_cast<const char*>(view.data) + from * view.row_stride;
    if (is_dense(rows_)) {
      std::memcpy(to, source, static_cast<size_t>(count * row_bytes_));
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      widen(source + i * view.row_stride, view.col_stride, view.cols, view.dtype,
            reinterpret_cast<float*>(to + i * row_bytes_));
    }
  };
  parallel_for(default_threads(), (n + rows - 1) / rows, copy, {});
}

bool RowStream::next(MatrixView* part, int64_t* first) {
  if (parts_ > 0 && !rows_.on_device) slots_[(parts_ - 1) % 2].used.record(stream_);
  const int64_t n = std::min(part_rows_, rows_.view.rows - done_);
  if (n <= 0) return false;
  *first = done_;
  *part = rows_.view;
  part->rows = n;
  if (rows_.on_device) {
    part->data = static_cast<const char*>(rows_.view.data) + done_ * rows_.view.row_stride;
  } else {
    Slot& slot = slots_[parts_ % 2];
    char* to = whole_ == nullptr ? slot.device.data() : whole_ + done_ * row_bytes_;
    if (parts_ >= 2) slot.copied.wait();
    fill(slot.pinned.data(), done_, n);
    slot.used.hold(copies_.get());
    check(cudaMemcpyAsync(to, slot.pinned.data(), static_cast<size_t>(n * row_bytes_),
                          cudaMemcpyHostToDevice, copies_.get()),
          "copying rows to the device");
    slot.copied.record(copies_.get());
    slot.copied.hold(stream_);
    const DType type = device_type(rows_);
    *part = {to, n, rows_.view.cols, row_bytes_, element_bytes(type), type};
  }
  done_ += n;
  ++parts_;
  return true;
}

DeviceRows::DeviceRows(const Matrix& rows, cudaStream_t stream) : view_(rows.view) {
  if (rows.on_device || rows.view.rows == 0) return;
  const int64_t bytes = RowStream::device_row_bytes(rows);
  buffer_ = DeviceBuffer<char>(rows.view.rows * bytes, stream);
  RowStream parts(rows, std::max<int64_t>(1, kPartBytes / bytes), stream, buffer_.data());
  MatrixView part;
  int64_t first = 0;
  while (parts.next(&part, &first)) {
  }
  view_ = {buffer_.data(),
           rows.view.rows,
           rows.view.cols,
           bytes,
           element_bytes(RowStream::device_type(rows)),
           RowStream::device_type(rows)};
}

}  // namespace idsim::cuda

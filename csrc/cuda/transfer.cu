#include "cuda/transfer.hpp"

#include <algorithm>

namespace idsim::cuda {

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

Lane::Lane(int64_t bytes, bool own_target, cudaStream_t work) : work_(work), pinned_(bytes) {
  if (own_target) device_ = DeviceBuffer<char>(bytes, work);
  // The buffer belongs to the work stream; copies must not begin before it is there.
  release();
  check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "creating a stream");
}

Lane::~Lane() {
  cudaStreamSynchronize(copies_);
  cudaStreamDestroy(copies_);
}

char* Lane::free_pinned() {
  if (sent_) copied_.wait();
  return pinned_.data();
}

char* Lane::send(int64_t bytes, char* to) {
  if (to == nullptr) to = device_.data();
  used_.hold(copies_);
  check(cudaMemcpyAsync(to, pinned_.data(), static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                        copies_),
        "copying to the device");
  copied_.record(copies_);
  sent_ = true;
  return to;
}

PartStream::PartStream(int64_t rows, int64_t part_rows, int64_t row_bytes, Fill fill,
                       cudaStream_t stream, char* whole)
    : rows_(rows),
      part_rows_(std::clamp<int64_t>(rows, 1, part_rows)),
      row_bytes_(row_bytes),
      fill_(std::move(fill)),
      whole_(whole),
      lanes_{{part_rows_ * row_bytes, whole == nullptr, stream},
             {part_rows_ * row_bytes, whole == nullptr, stream}} {
  check(cudaGetDevice(&device_), "asking for the current device");
}

PartStream::Part PartStream::send(int64_t number) {
  Lane& lane = lanes_[number % kLanes];
  const int64_t first = number * part_rows_;
  const int64_t n = std::min(part_rows_, rows_ - first);
  fill_(lane.free_pinned(), first, n);
  char* to = whole_ == nullptr ? nullptr : whole_ + first * row_bytes_;
  return {lane.send(n * row_bytes_, to), first, n};
}

PartStream::Part PartStream::next() {
  if (next_ > 0) lanes_[(next_ - 1) % kLanes].release();
  if (next_ >= parts()) return {nullptr, rows_, 0};
  const Part part = next_ == 0 ? send(0) : coming_.get();
  lanes_[next_ % kLanes].hold_work();
  if (++next_ < parts()) {
    coming_ = std::async(std::launch::async, [this, number = next_] {
      const DeviceScope scope(device_);
      return send(number);
    });
  }
  return part;
}

}  // namespace idsim::cuda

#include "cuda/buffer.hpp"

#include "cuda/runtime.hpp"
#include "cuda/transfer.hpp"

namespace idsim::cuda {
namespace {

cudaStream_t stream_of(const Target& target) { return static_cast<cudaStream_t>(target.stream); }

// What is queued on `later` from now on comes behind what is queued on `earlier`.
void order(const Target& earlier, const Target& later) {
  const DeviceScope scope(earlier.device);
  Event event;
  event.record(stream_of(earlier));
  const DeviceScope other(later.device);
  event.hold(stream_of(later));
}

}  // namespace

Buffer::Buffer(int64_t bytes, const Target& target) : target_(target), bytes_(bytes) {
  const DeviceScope scope(target.device);
  data_ = DeviceBuffer<char>(bytes, stream_of(target)).release();
}

Buffer::Buffer(const MatrixView& rows, const Target& from, const Target& to)
    : Buffer(rows.rows * rows.row_stride, to) {
  if (bytes_ == 0) return;
  order(from, to);
  {
    const DeviceScope scope(to.device);
    check(cudaMemcpyPeerAsync(data_, to.device, rows.data, from.device, static_cast<size_t>(bytes_),
                              stream_of(to)),
          "copying rows from another device");
  }
  order(to, from);
}

Buffer::~Buffer() { free_on(target_.device, data_, stream_of(target_)); }

void Buffer::hand_to(void* stream) {
  if (stream == target_.stream) return;
  const Target to{target_.device, stream};
  order(target_, to);
  target_ = to;
}

void copy_to_device(const void* from, int64_t bytes, void* to, const Target& target) {
  const DeviceScope scope(target.device);
  const cudaStream_t stream = stream_of(target);
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream),
        "copying results to the device");
  check(cudaStreamSynchronize(stream), "waiting for the device");
}

}  // namespace idsim::cuda

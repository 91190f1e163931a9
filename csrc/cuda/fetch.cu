#include "cuda/fetch.hpp"

#include <algorithm>
#include <vector>

namespace idsim::cuda {

RowFetcher::RowFetcher(const Matrix& rows, int64_t slab_rows, int64_t turn_rows,
                       cudaStream_t stream)
    : host_(rows),
      slab_rows_(slab_rows),
      turn_rows_(turn_rows),
      stream_(stream),
      places_(slab_rows, stream),
      rows_(slab_rows, stream),
      count_(1, stream),
      lanes_{{turn_rows_ * host_.row_bytes(), true, stream},
             {turn_rows_ * host_.row_bytes(), true, stream}} {}

RowMarks RowFetcher::marks() {
  places_.set_bytes(0xFF);
  count_.set_bytes(0);
  return {places_.data(), rows_.data(), count_.data()};
}

void RowFetcher::fetch(const Gallery& slab, const std::function<void(const Gallery&)>& visit) {
  const auto copy = [&](void* to, const void* from, size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
          "copying from the device");
    check(cudaStreamSynchronize(stream_), "waiting for the device");
  };
  unsigned needed = 0;
  copy(&needed, count_.data(), sizeof needed);
  std::vector<int32_t> rows(needed);
  if (needed > 0) copy(rows.data(), rows_.data(), rows.size() * sizeof(int32_t));
  std::vector<int64_t> ids(rows.begin(), rows.end());
  for (int64_t& id : ids) id += slab.first_row;

  const auto count = static_cast<int64_t>(needed);
  int64_t first = 0;
  do {
    const int64_t n = std::min(turn_rows_, count - first);
    Lane& lane = lanes_[turns_++ % 2];
    host_.gather(ids.data() + first, n, lane.free_pinned());
    Gallery turn = slab;
    turn.rows = host_.view(lane.send(n * host_.row_bytes()), slab.count());
    turn.places = places_.data();
    turn.first_place = static_cast<int32_t>(first);
    turn.places_here = static_cast<int32_t>(n);
    lane.hold_work();
    visit(turn);
    lane.release();
    first += n;
  } while (first < count);
}

}  // namespace idsim::cuda

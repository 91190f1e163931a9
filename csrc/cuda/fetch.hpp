// Rows that lie on the host or in a file and are needed one by one: the device says which, the host gathers them.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>

#include "cuda/gallery.hpp"
#include "cuda/host_rows.hpp"
#include "cuda/transfer.hpp"

namespace idsim::cuda {

// Where kernels note the rows of a slab that a scan needs (fetch.cuh).
struct RowMarks {
  int32_t* places;  // [n] -1: not needed so far
  int32_t* rows;    // the needed ones, by place
  unsigned* count;
};

// Every needed row is sent once per slab, whichever queries need it. The host waits for the device to know them. Rows that
// the device reads itself (mapped_rows.hpp) spare that wait, but every page of them has to be locked first.
class RowFetcher {
 public:
  // slab_rows: most rows of a slab. turn_rows: rows that are sent at a time.
  RowFetcher(const Matrix& rows, int64_t slab_rows, int64_t turn_rows, cudaStream_t stream);

  int64_t slab_rows() const { return slab_rows_; }
  // Marks for the rows of a slab, none of them needed yet.
  RowMarks marks();
  // Waits for the marks, then calls visit for turns of the slab that have the needed rows; once where none is needed.
  void fetch(const Gallery& slab, const std::function<void(const Gallery&)>& visit);

 private:
  HostRows host_;
  int64_t slab_rows_;
  int64_t turn_rows_;
  cudaStream_t stream_;
  DeviceBuffer<int32_t> places_, rows_;
  DeviceBuffer<unsigned> count_;
  Lane lanes_[2];
  int64_t turns_ = 0;
};

inline int64_t most_slab_rows(const Gallery& gallery) {
  return gallery.fetcher == nullptr ? std::numeric_limits<int64_t>::max()
                                    : gallery.fetcher->slab_rows();
}

// Calls work(gallery), or where rows have to be fetched mark(marks) and then work for every turn.
template <class Mark, class Work>
void with_rows(const Gallery& slab, const Mark& mark, const Work& work) {
  if (slab.fetcher == nullptr) return work(slab);
  mark(slab.fetcher->marks());
  slab.fetcher->fetch(slab, work);
}

}  // namespace idsim::cuda

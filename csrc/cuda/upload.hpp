// Rows and codes on their way from the host, or from files, to the device.
#pragma once

#include <cstdint>
#include <optional>

#include "cuda/host_rows.hpp"
#include "cuda/rows.hpp"
#include "cuda/runtime.hpp"
#include "cuda/search.hpp"
#include "cuda/transfer.hpp"

namespace idsim::cuda {

// Rows in parts. What lies on the device already is handed out as it is; anything else goes through a PartStream.
class RowStream {
 public:
  // stream: of the work on the parts.
  RowStream(const Matrix& rows, int64_t part_rows, cudaStream_t stream);

  // The next part, for work queued on the stream from now on; valid for work queued before the next call. False: none.
  bool next(MatrixView* part, int64_t* first);

 private:
  Matrix rows_;
  HostRows host_;
  int64_t part_rows_;
  int64_t done_ = 0;
  std::optional<PartStream> parts_;  // none: on the device
};

// Codes with their stats, and the terms that the device derives from them, in parts.
class CodeStream {
 public:
  // files and arrays of `codes` must live as long.
  CodeStream(const CodeArrays& codes, int64_t rows, int64_t dim, Metric metric, int64_t part_rows,
             cudaStream_t stream);

  // As of RowStream. found: on the device, updated with rows that hold NaN or Inf; they count from first_id.
  bool next(CodedRows* part, int64_t* first, int64_t* n, int64_t first_id, NonFinite* found);

 private:
  Metric metric_;
  cudaStream_t stream_;
  int64_t d_pad_;
  PartStream parts_;
  DeviceBuffer<float> u_, v_, w_;
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

// Rows on the host or in a file, as they are sent to the device: dense.
#pragma once

#include <cstdint>

#include "cuda/search.hpp"

namespace idsim::cuda {

class HostRows {
 public:
  explicit HostRows(const Matrix& rows);

  int64_t rows() const { return rows_.view.rows; }
  // Elements as they arrive: the type of the rows; float32 where strided rows are made dense.
  DType dtype() const { return dtype_; }
  int64_t row_bytes() const { return row_bytes_; }
  // n rows at `data` as a view.
  MatrixView view(const void* data, int64_t n) const;

  // Rows first .. first + n, with all cores.
  void copy(int64_t first, int64_t n, char* out) const;
  // Single rows to places of their own: row ids[i] as the i-th.
  void gather(const int64_t* ids, int64_t n, char* out) const;

 private:
  void copy_some(int64_t first, int64_t n, char* out) const;

  Matrix rows_;
  bool dense_;
  DType dtype_;
  int64_t row_bytes_;
};

}  // namespace idsim::cuda

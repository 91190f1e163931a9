// Rows in the host's memory that kernels read over the bus, where they are.
#pragma once

#include <cstdint>

#include "cuda/runtime.hpp"
#include "cuda/search.hpp"

namespace idsim::cuda {

// Pages of the host that are locked and mapped for the device, for as long as this lives.
//
// readable() is false where that cannot be had or should not: for rows in files, also mapped ones (locking would read the
// whole file and keep it in memory), for rows whose elements are not side by side (each would cost a transfer of its own),
// and where the driver refuses, as for read-only pages on devices that cannot map those.
class MappedRows {
 public:
  explicit MappedRows(const Matrix& rows);
  ~MappedRows();
  MappedRows(const MappedRows&) = delete;
  MappedRows& operator=(const MappedRows&) = delete;

  bool readable() const { return view_.data != nullptr; }
  const MatrixView& view() const { return view_; }

 private:
  MatrixView view_;  // as the device sees them
  void* registered_ = nullptr;
};

}  // namespace idsim::cuda

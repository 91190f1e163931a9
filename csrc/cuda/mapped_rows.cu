#include "cuda/mapped_rows.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/widen.hpp"

namespace idsim::cuda {
namespace {

struct Range {
  char* begin;
  char* end;
};

Range range_of(const MatrixView& rows) {
  auto* first = static_cast<char*>(const_cast<void*>(rows.data));
  char* last = first + (rows.rows - 1) * rows.row_stride;
  return {std::min(first, last), std::max(first, last) + rows.cols * element_bytes(rows.dtype)};
}

// Whether any of it is a mapped file. Where the system does not say, it is taken for one.
bool maps_a_file(const Range& range) {
  std::ifstream maps("/proc/self/maps");
  if (!maps) return true;
  const auto begin = reinterpret_cast<uintptr_t>(range.begin);
  const auto end = reinterpret_cast<uintptr_t>(range.end);
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    uintptr_t from = 0, to = 0;
    char dash = 0;
    std::string access, offset, device;
    int64_t inode = 0;
    fields >> std::hex >> from >> dash >> to >> access >> offset >> device >> std::dec >> inode;
    if (from < end && begin < to && inode != 0) return true;
  }
  return false;
}

// What an error that the caller can do without leaves behind; one that loses the context is thrown.
bool succeeded(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return true;
  cudaGetLastError();
  if (loses_context(error)) fail(error, doing);
  return false;
}

// Whether a library has locked and mapped this memory before.
bool is_mapped(const void* p) {
  cudaPointerAttributes attributes{};
  return succeeded(cudaPointerGetAttributes(&attributes, p), "asking for a pointer's attributes") &&
         attributes.type == cudaMemoryTypeHost && attributes.devicePointer != nullptr;
}

bool register_range(const Range& range) {
  int read_only = 0, device = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&read_only, cudaDevAttrHostRegisterReadOnlySupported, device),
        "asking for an attribute");
  // Kernels only read; pages that are read-only for the process can be mapped in no other way.
  const unsigned flags = cudaHostRegisterMapped | cudaHostRegisterPortable |
                         (read_only != 0 ? cudaHostRegisterReadOnly : 0U);
  return succeeded(
      cudaHostRegister(range.begin, static_cast<size_t>(range.end - range.begin), flags),
      "locking rows of the host");
}

}  // namespace

MappedRows::MappedRows(const Matrix& rows) : view_(rows.view) {
  view_.data = nullptr;
  const int64_t size = element_bytes(rows.view.dtype);
  if (rows.on_device || rows.file.fd >= 0 || rows.view.rows == 0) return;
  if (rows.view.cols > 1 && rows.view.col_stride != size) return;
  const Range range = range_of(rows.view);
  if (!is_mapped(range.begin) || !is_mapped(range.end - 1)) {
    if (maps_a_file(range) || !register_range(range)) return;
    registered_ = range.begin;
  }
  void* seen = nullptr;
  if (!succeeded(cudaHostGetDevicePointer(&seen, range.begin, 0), "mapping rows of the host"))
    return;
  view_.data =
      static_cast<const char*>(seen) + (static_cast<const char*>(rows.view.data) - range.begin);
}

MappedRows::~MappedRows() {
  if (registered_ == nullptr) return;
  cudaDeviceSynchronize();  // searches in stream order may still read them
  cudaHostUnregister(registered_);
}

}  // namespace idsim::cuda

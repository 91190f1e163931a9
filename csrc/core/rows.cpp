#include "core/rows.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace idsim {
namespace {

void read_fully(int fd, char* out, int64_t bytes, int64_t offset) {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, out, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw FileReadError(std::string("reading a gallery row failed: ") + std::strerror(errno));
    if (got == 0) {
      throw FileReadError("the gallery file ends at byte " + std::to_string(offset) +
                          " inside a row: it was truncated");
    }
    out += got;
    bytes -= got;
    offset += got;
  }
}

}  // namespace

bool rows_are_float32(const RowSource& source) {
  const MatrixView& v = source.view;
  return source.fd < 0 && v.dtype == DType::f32 && (v.col_stride == 4 || v.cols <= 1) &&
         reinterpret_cast<uintptr_t>(v.data) % 4 == 0 && v.row_stride % 4 == 0;
}

const float* load_row(const RowSource& source, int64_t i, float* scratch) {
  const MatrixView& v = source.view;
  if (source.fd >= 0) {
    const int64_t bytes = v.cols * element_bytes(v.dtype);
    char* raw = reinterpret_cast<char*>(v.dtype == DType::f32 ? scratch : scratch + v.cols);
    read_fully(source.fd, raw, bytes, source.file_offset + i * v.row_stride);
    if (v.dtype != DType::f32) widen(raw, element_bytes(v.dtype), v.cols, v.dtype, scratch);
    return scratch;
  }
  const char* first = static_cast<const char*>(v.data) + i * v.row_stride;
  if (rows_are_float32(source)) return reinterpret_cast<const float*>(first);
  widen(first, v.col_stride, v.cols, v.dtype, scratch);
  return scratch;
}

}  // namespace idsim

#include "core/rows.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace idsim {

void read_file(const FilePart& file, int64_t at, int64_t bytes, void* out) {
  int64_t offset = file.offset + at;
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(file.fd, to, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      throw FileReadError(file.path, error,
                          std::string("reading a gallery failed: ") + std::strerror(error));
    }
    if (got == 0) {
      throw FileReadError(file.path, EIO,
                          "the gallery file ends before byte " + std::to_string(offset + bytes) +
                              ": it was truncated");
    }
    to += got;
    bytes -= got;
    offset += got;
  }
}

bool rows_are_float32(const RowSource& source) {
  const MatrixView& v = source.view;
  return source.file.fd < 0 && v.dtype == DType::f32 && (v.col_stride == 4 || v.cols <= 1) &&
         reinterpret_cast<uintptr_t>(v.data) % 4 == 0 && v.row_stride % 4 == 0;
}

const float* load_row(const RowSource& source, int64_t i, float* scratch) {
  const MatrixView& v = source.view;
  if (source.file.fd >= 0) {
    const int64_t bytes = v.cols * element_bytes(v.dtype);
    char* raw = reinterpret_cast<char*>(v.dtype == DType::f32 ? scratch : scratch + v.cols);
    read_file(source.file, i * v.row_stride, bytes, raw);
    if (v.dtype != DType::f32) widen(raw, element_bytes(v.dtype), v.cols, v.dtype, scratch);
    return scratch;
  }
  const char* first = static_cast<const char*>(v.data) + i * v.row_stride;
  if (rows_are_float32(source)) return reinterpret_cast<const float*>(first);
  widen(first, v.col_stride, v.cols, v.dtype, scratch);
  return scratch;
}

void expect_row(const RowSource& source, int64_t i) {
  const int64_t stride = source.view.row_stride;
  // A hint: where it is refused, the row is read when it is needed.
  static_cast<void>(::posix_fadvise(source.file.fd, source.file.offset + i * stride, stride,
                                    POSIX_FADV_WILLNEED));
}

}  // namespace idsim

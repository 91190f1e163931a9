#include "core/rows.hpp"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

namespace idsim {
namespace {

float widen_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

float widen_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU;
  const uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0x1FU) return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (fraction << 13));
  // Subnormal: fraction * 2^-24, exact in float32.
  const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

template <class Element, class Widen>
void widen_row(const char* first, int64_t stride, int64_t cols, float* out, Widen widen) {
  for (int64_t j = 0; j < cols; ++j) {
    Element element;  // rows may be misaligned
    std::memcpy(&element, first + j * stride, sizeof element);
    out[j] = widen(element);
  }
}

void widen(const char* first, int64_t stride, int64_t cols, DType dtype, float* out) {
  switch (dtype) {
    case DType::f32:
      return widen_row<float>(first, stride, cols, out, [](float x) { return x; });
    case DType::f64:
      return widen_row<double>(first, stride, cols, out, [](double x) { return static_cast<float>(x); });
    case DType::f16:
      return widen_row<uint16_t>(first, stride, cols, out, widen_f16);
    case DType::bf16:
      return widen_row<uint16_t>(first, stride, cols, out, widen_bf16);
  }
}

void read_fully(int fd, char* out, int64_t bytes, int64_t offset) {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, out, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw FileReadError(std::string("reading a gallery row failed: ") + std::strerror(errno));
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

int64_t element_bytes(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::f32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
  }
  return 0;
}

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

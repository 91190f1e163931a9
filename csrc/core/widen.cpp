#include "core/widen.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace idsim {
namespace {

template <class Element, class Widen>
void widen_each(const char* first, int64_t count, float* out, Widen widen) {
  for (int64_t j = 0; j < count; ++j) {
    Element element;  // rows may be misaligned
    std::memcpy(&element, first + j * int64_t{sizeof element}, sizeof element);
    out[j] = widen(element);
  }
}

#if defined(__x86_64__)
// Widens as many of the elements as fill registers; returns how many.
__attribute__((target("avx2,f16c"))) int64_t widen_f16_eights(const char* first, int64_t count,
                                                              float* out) {
  int64_t j = 0;
  for (; j + 8 <= count; j += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + 2 * j));
    _mm256_storeu_ps(out + j, _mm256_cvtph_ps(halves));
  }
  return j;
}

int64_t widen_f16_quickly(const char* first, int64_t count, float* out) {
  static const bool able = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  return able ? widen_f16_eights(first, count, out) : 0;
}
#else
int64_t widen_f16_quickly(const char*, int64_t, float*) { return 0; }
#endif

void widen_f16_row(const char* first, int64_t count, float* out) {
  const int64_t done = widen_f16_quickly(first, count, out);
  widen_each<uint16_t>(first + 2 * done, count - done, out + done, widen_f16);
}

void widen_contiguous(const char* first, int64_t count, DType dtype, float* out) {
  switch (dtype) {
    case DType::f32:
      std::memcpy(out, first, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::f64:
      return widen_each<double>(first, count, out, [](double x) { return static_cast<float>(x); });
    case DType::f16:
      return widen_f16_row(first, count, out);
    case DType::bf16:
      return widen_each<uint16_t>(first, count, out, widen_bf16);
  }
}

// Gathers elements that lie apart, a few at a time, so that they too are widened side by side.
template <class Element>
void widen_strided(const char* first, int64_t stride, int64_t count, DType dtype, float* out) {
  Element near[64];
  constexpr int64_t kNear = std::size(near);
  for (int64_t done = 0; done < count; done += kNear) {
    const int64_t n = std::min(kNear, count - done);
    for (int64_t j = 0; j < n; ++j)
      std::memcpy(&near[j], first + (done + j) * stride, sizeof(Element));
    widen_contiguous(reinterpret_cast<const char*>(near), n, dtype, out + done);
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

void widen(const char* first, int64_t stride, int64_t count, DType dtype, float* out) {
  const int64_t size = element_bytes(dtype);
  if (stride == size) return widen_contiguous(first, count, dtype, out);
  if (size == 2) return widen_strided<uint16_t>(first, stride, count, dtype, out);
  if (size == 4) return widen_strided<float>(first, stride, count, dtype, out);
  widen_strided<double>(first, stride, count, dtype, out);
}

}  // namespace idsim

// Elements of the four element types as float32.
#pragma once

#include <cstdint>

#include "core/types.hpp"

namespace idsim {

int64_t element_bytes(DType dtype);

// `count` elements, `stride` bytes apart from `first` on, which need not be aligned. float16 and bfloat16
// widen exactly; float64 is rounded once, to nearest even.
void widen(const char* first, int64_t stride, int64_t count, DType dtype, float* out);

}  // namespace idsim

// Elements of the four element types as float32.
#pragma once

#include <bit>
#include <cstdint>

#include "core/types.hpp"

namespace idsim {

int64_t element_bytes(DType dtype);

// `count` elements, `stride` bytes apart from `first` on, which need not be aligned. float16 and bfloat16
// widen exactly; float64 is rounded once, to nearest even.
void widen(const char* first, int64_t stride, int64_t count, DType dtype, float* out);

IDSIM_HD inline float widen_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// No branches, so that loops over it vectorise.
IDSIM_HD inline float widen_f16(uint16_t bits) {
  constexpr uint32_t kTopExponent = 0x0F800000U;
  constexpr uint32_t kBias = 112U << 23;  // 127 - 15
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t shifted = static_cast<uint32_t>(bits & 0x7FFFU) << 13;
  const uint32_t exponent = shifted & kTopExponent;
  const uint32_t normal = shifted + kBias + (exponent == kTopExponent ? kBias : 0U);
  // A subnormal is fraction * 2^-24: as 2^-14 + fraction * 2^-24 it is normal, and the difference exact.
  const float raised = std::bit_cast<float>(shifted + kBias + (1U << 23));
  const uint32_t subnormal = std::bit_cast<uint32_t>(raised - 0x1p-14F);
  // All ones for exponent 0; written without a comparison, which GCC would turn into a branch.
  const uint32_t choose = static_cast<uint32_t>(static_cast<int32_t>(exponent - 1U) >> 31);
  return std::bit_cast<float>(sign | (subnormal & choose) | (normal & ~choose));
}

}  // namespace idsim

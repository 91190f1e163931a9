// How tensor cores add products of float16, at their worst: M. Fasi, N. J. Higham, M. Mikaitis and S. Pranesh, "Numerical
// behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330 (2021).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

// c + the sum of `count` products, which are exact: all are aligned to the largest of them and cut to 24 bits, without
// guard bits, and the sum is cut to a float32. Later chips keep a few bits more. At most 64 products.
inline float truncating_sum(float c, const float* products, int count) {
  uint32_t largest = std::bit_cast<uint32_t>(c) & 0x7F800000U;
  for (int i = 0; i < count; ++i) {
    const uint32_t exponent = std::bit_cast<uint32_t>(products[i]) & 0x7F800000U;
    if (exponent > largest) largest = exponent;
  }
  const int shift = static_cast<int>(largest >> 23) - 127 - 23;  // the unit is 2^shift
  const auto unit = std::bit_cast<double>(static_cast<uint64_t>(1023 + shift) << 52);
  const auto inverse = std::bit_cast<double>(static_cast<uint64_t>(1023 - shift) << 52);
  auto sum = static_cast<int64_t>(static_cast<double>(c) * inverse);
  for (int i = 0; i < count; ++i) {
    sum += static_cast<int64_t>(static_cast<double>(products[i]) * inverse);
  }
  const auto magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum);
  const int beyond = 64 - std::countl_zero(magnitude) - 24;
  const uint64_t kept = beyond > 0 ? magnitude >> beyond << beyond : magnitude;
  const double cut = static_cast<double>(kept) * unit;
  return static_cast<float>(sum < 0 ? -cut : cut);
}

}  // namespace emulator

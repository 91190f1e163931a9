// The order of results as unsigned keys: a smaller key is a better result, ties by id.
#pragma once

#include <bit>
#include <cstdint>

#include "core/types.hpp"

namespace idsim {

// Monotone in the float: larger floats get larger keys; -0 and 0 the same one, as they compare equal.
IDSIM_HD inline uint32_t ascending_key(float x) {
  const auto bits = std::bit_cast<uint32_t>(x + 0.0F);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}
IDSIM_HD inline float from_ascending_key(uint32_t key) {
  return std::bit_cast<float>((key >> 31) != 0 ? key & 0x7FFFFFFFU : ~key);
}

struct ResultKey {
  uint32_t score;
  uint64_t id;

  // Digit p of 12 digits of 8 bits, the most significant first.
  IDSIM_HD uint32_t digit(int p) const {
    if (p < 4) return (score >> (24 - 8 * p)) & 0xFFU;
    return static_cast<uint32_t>(id >> (56 - 8 * (p - 4))) & 0xFFU;
  }
  // The first `digits` digits, the rest zero.
  IDSIM_HD ResultKey prefix(int digits) const {
    ResultKey out{score, 0};
    if (digits < 4) {
      out.score = digits == 0 ? 0U : score & ~((1U << (32 - 8 * digits)) - 1U);
    } else if (digits > 4) {
      const int kept = 8 * (digits - 4);
      out.id = kept == 64 ? id : id & ~((uint64_t{1} << (64 - kept)) - 1U);
    }
    return out;
  }
  IDSIM_HD ResultKey with_digit(int p, uint32_t value) const {
    ResultKey out = *this;
    if (p < 4) {
      out.score |= value << (24 - 8 * p);
    } else {
      out.id |= uint64_t{value} << (56 - 8 * (p - 4));
    }
    return out;
  }
  IDSIM_HD bool operator==(const ResultKey& o) const { return score == o.score && id == o.id; }
  IDSIM_HD bool operator<(const ResultKey& o) const {
    return score != o.score ? score < o.score : id < o.id;
  }
  IDSIM_HD bool operator<=(const ResultKey& o) const { return !(o < *this); }
};
inline constexpr int kKeyDigits = 12;

IDSIM_HD inline ResultKey result_key(Metric metric, float score, int64_t id) {
  const uint32_t up = ascending_key(score);
  return {metric == Metric::l2 ? up : ~up, static_cast<uint64_t>(id)};
}

}  // namespace idsim

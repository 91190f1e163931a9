// How a top-k scan cuts a gallery into slabs, so that the rows that pass the filter fit a buffer of fixed size.
//
// Thresholds stand still within a slab. When they come from `seen` rows, about k * margin * rows / seen of the next
// rows pass; margin is what the bound adds. A slab is sized so that half the buffer is expected to be used; a
// buffer that overflows all the same costs time, not results.
#pragma once

#include <algorithm>
#include <cstdint>

namespace idsim {

// Rows that pass per row that belongs to the k best, for a threshold that is the exact k-th score of the rows seen, and
// for one that a sample's lower bounds prove. Measured on random and clustered rows: up to 6 and 31 (k = 10) by 8-bit
// codes, 1.03 and 1.06 by 16-bit ones (for single queries 2.7, by the chance of the sample).
struct SlabMargins {
  int64_t exact;
  int64_t sample;
};
inline constexpr SlabMargins kInt8Margins{8, 32};
inline constexpr SlabMargins kHalfMargins{2, 4};

struct SlabPlan {
  int64_t rows;     // of the gallery
  int64_t sampled;  // rows that the first threshold comes from; 0: there is none
  int64_t k;
  int64_t capacity;  // of the buffer of one query
  int64_t align;     // slabs but the last are multiples of it
  SlabMargins margins = kInt8Margins;

  // End of the slab that begins at `begin`.
  int64_t end(int64_t begin) const {
    const bool exact = begin > sampled;
    const int64_t seen = std::max(begin, sampled);
    const int64_t margin = exact ? margins.exact : margins.sample;
    const double fits = static_cast<double>(seen) * static_cast<double>(capacity) /
                        (2.0 * static_cast<double>(k * margin));
    const double wanted =
        std::max({fits, static_cast<double>(capacity), static_cast<double>(align)});
    if (wanted >= static_cast<double>(rows - begin)) return rows;
    return std::min(rows, begin + static_cast<int64_t>(wanted) / align * align);
  }
};

}  // namespace idsim

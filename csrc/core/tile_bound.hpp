// One threshold for a query and a whole tile of gallery rows: no pair of the tile that core/bounds.hpp lets pass is
// below it.
//
// Over the rows of a tile, a u + c w - b v is least with the least u (a < 0: the greatest), the least w and the greatest
// v. These are kept as bits: floats that are not negative order as their bits do, and warps reduce integers in one
// instruction. Rows that never pass (u = NaN) are left out.
//
// Rounding. The float32 value of that least limit errs by at most 3 * 2^-24 of its terms, which kSlack pays for where
// they are those of the pair itself. Where |a| u or b v of the tile is greater than the pair's, the limit has fallen by
// the whole difference, of which the rounding is 3 * 2^-24.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/bounds.hpp"
#include "core/types.hpp"

namespace idsim {

struct TileTerms {
  uint32_t least_u = ~0U, most_u = 0, most_v = 0, least_w = ~0U;
};

IDSIM_HD inline TileTerms tile_terms(const RowTerms& x) {
  if (std::isnan(x.u)) return {};
  const auto u = std::bit_cast<uint32_t>(x.u);
  return {u, u, std::bit_cast<uint32_t>(x.v), std::bit_cast<uint32_t>(x.w)};
}

IDSIM_HD inline TileTerms joined(const TileTerms& x, const TileTerms& y) {
  return {x.least_u < y.least_u ? x.least_u : y.least_u, x.most_u > y.most_u ? x.most_u : y.most_u,
          x.most_v > y.most_v ? x.most_v : y.most_v, x.least_w < y.least_w ? x.least_w : y.least_w};
}

// +inf or NaN: no pair of the tile passes. Of a tile without rows it is NaN.
IDSIM_HD inline float tile_limit(const QueryTerms& q, const TileTerms& tile) {
  const auto u = std::bit_cast<float>(q.a >= 0.0F ? tile.least_u : tile.most_u);
  return q.a * u +
         (q.c * std::bit_cast<float>(tile.least_w) - q.b * std::bit_cast<float>(tile.most_v));
}

// The least product that reaches a limit, where products lack `start` (-128 times the sum of the query's codes, because
// gallery codes are stored as c + 128). |start| and products stay below 2^30: d <= 2^15.
IDSIM_HD inline int32_t least_product(float limit, int32_t start) {
  if (!(limit < 0x1p30F)) return std::numeric_limits<int32_t>::max();
  if (limit <= -0x1p30F) return std::numeric_limits<int32_t>::min();
  return static_cast<int32_t>(std::floor(limit)) - start;
}

}  // namespace idsim

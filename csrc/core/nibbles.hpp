// 4-bit codes of coded rows: half the bytes to read where a search of few queries is as fast as the memory.
//
// A row x is read as x^ = scale * level, its levels one of +-kNibbleLevels per element (those of the best
// 16-level quantiser of Gaussian data). The scale is a share of the row's 8-bit scale, chosen per row. With
// residual >= ||x - x^||, these are codes in the sense of core/bounds.hpp, only coarser, and the same test holds
// with their row terms. Pairs that pass it are tested again on their 8-bit codes.
//
// The query takes part with two digits, q^ = s/256 (256 c1 + c2), where c1 are its 8-bit codes: what they lose
// would cost a third of the pairs that the test drops. The test is made on 256 J1 + J2, J1 and J2 the exact
// integer products of the digits and the levels. Its float32 sum (two conversions and an addition more than
// core/bounds.hpp counts, each relative 2^-24 of a term no larger than ||q^|| ||x^||) stays within kSlack.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/bounds.hpp"
#include "core/codes.hpp"
#include "core/digits.hpp"

namespace idsim {

// Places of 16-level Lloyd-Max quantisation of a unit normal (0.1284 to 2.7326), times 127 / 2.7326.
inline constexpr uint8_t kNibbleLevels[8] = {6, 18, 31, 44, 58, 75, 96, 127};
// Scales that are tried, in tenths of the 8-bit scale. Gaussian rows of 128 to 1024 dimensions lose 0.090 to
// 0.097 of their length, power-law spectra 0.23.
inline constexpr int kNibbleTenths[] = {7, 8, 9, 10};
// Two digits of two queries stay in the first cache.
inline constexpr int64_t kMaxNibbleDim = 4096;

// Bytes of a row: byte j of each 64 holds element j of 128 in its low half, element j + 64 in the high half.
constexpr int64_t nibble_bytes(int64_t d_pad) { return (d_pad + 127) / 128 * 64; }

struct NibbleStats {
  float scale;
  float residual;  // >= ||x - x^||
};

// Levels have no zero: a zero row passes always, like a row without codes (infinite residual).
inline RowTerms nibble_terms(Metric metric, const NibbleStats& s, double norm) {
  return norm == 0.0 ? passing_row() : row_terms(metric, s.scale, s.residual, norm);
}

// Bound on the residual of a row of d elements from the float32 sum of its squared differences.
float nibble_residual(float sum_of_squares, float code_scale, int64_t d);

// The second digits c2 of a query q of d elements with 8-bit codes c1 (d_pad of each) and scale `stored_scale`.
// Returns what both digits hold of it, in the metric's scaling; `coarse` is its bound with one digit.
QueryBound fine_digits(const float* q, int64_t d, int64_t d_pad, const int8_t* c1,
                       double stored_scale, const QueryBound& coarse, int8_t* c2);

}  // namespace idsim

// Queries of two 8-bit digits: q^ = s/256 (256 c1 + c2), where c1 are the codes of core/codes.hpp. What one digit loses of
// a query is half of the bound's margin; of two it is a 256th of that.
//
// The test (*) of core/bounds.hpp is then made on I = 256 J1 + J2, J1 and J2 the exact integer products of the digits with
// a row's codes, and scale s/256. Rounding to float32 costs more than that of one integer: two conversions and an addition
// are off by at most 2^-24 (|256 J1| + |J2| + |I|) (1 + 2^-24); multiplying by 256 is exact. By Cauchy and Schwarz, in the
// scaling of the scores, that is 2^-24 (||q1|| + ||q2|| + ||q^||) ||x^||, where q1 and q2 are what either digit holds. Coded
// rows and queries lose less than they hold, so that ||x^|| < 2 ||x|| and ||q1|| < 2 ||q||; the second digit comes nearer
// to what the first left than zero does, so that ||q2|| < 2 ||q|| and ||q^|| < 2 ||q||. Together less than
// 12 * 2^-24 ||q|| ||x||, in place of 4 * 2^-24 for one digit. For cosine, a sets aside 2 kSlack coded_norm = 32 * 2^-24 of
// it, of which rounding b v and subtracting it take 2 * 2^-24. For dot and l2, b v sets aside
// 8 kSlack ||q|| ||x|| = 128 * 2^-24, of which its own operations take at most 16 * 2^-24.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/bounds.hpp"

namespace idsim {

// What kQueryShare is for queries of two digits (typical: 3e-5).
inline constexpr double kTwoDigitShare = 0x1p-13;

// The second digits of other queries are 0: no row can be ruled out for them, or all products are 0.
IDSIM_HD inline bool has_digits(const QueryBound& coarse) {
  return coarse.coded && coarse.norm != 0.0;
}

struct FineDigit {
  double digit;  // an integer up to 127
  double lost;   // of x
};

// x: an element of a query. scale: of the codes of the stored query.
IDSIM_HD inline FineDigit fine_digit(double x, double coarse_digit, double scale) {
  const double left = x - scale * coarse_digit;
  const double digit = std::fmin(std::fmax(std::nearbyint(left * 256.0 / scale), -127.0), 127.0);
  return {digit, left - scale / 256.0 * digit};
}

// What both digits hold of a query, in the metric's scaling. coarse: its bound with one digit. lost_squares: the sum of the
// squares of what the second digits lost, in any order.
IDSIM_HD inline QueryBound fine_bound(const QueryBound& coarse, double scale, double lost_squares) {
  QueryBound fine = coarse;
  fine.scale = coarse.scale / 256.0;
  if (!has_digits(coarse)) return fine;
  // What a digit leaves is exact or within 2^-52 of |x|, the sum within d 2^-52.
  const double unit = coarse.scale / scale;
  fine.residual = std::sqrt(lost_squares) * unit * (1.0 + 0x1p-30) + 0x1p-40 * coarse.norm;
  fine.coded_norm = (coarse.norm + fine.residual) * (1.0 + 0x1p-40);
  return fine;
}

// 256 J1 + J2: with a fine bound, the dot of score_range (core/bounds.hpp). float64 holds it.
IDSIM_HD constexpr int64_t two_digits(int32_t coarse, int32_t fine) {
  return 256 * int64_t{coarse} + int64_t{fine};
}
IDSIM_HD inline float two_digits_rounded(int32_t coarse, int32_t fine) {
  return 256.0F * static_cast<float>(coarse) + static_cast<float>(fine);
}

// The terms of a row for queries with the share kTwoDigitShare: v_x without the rest of kQueryShare. What is taken off is
// lessened by 2^-20, more than its own operations round; the difference rounds once, which counts as an operation of b v.
IDSIM_HD inline RowTerms two_digit_terms(Metric metric, const RowTerms& x, double norm) {
  if (metric == Metric::cosine || x.v == std::numeric_limits<float>::infinity()) return x;
  constexpr auto freed = static_cast<float>((kQueryShare - kTwoDigitShare) * (1.0 - 0x1p-20));
  return {x.u, x.v - freed * static_cast<float>(norm) * x.u, x.w};
}

}  // namespace idsim

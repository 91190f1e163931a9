#include "core/nibbles.hpp"

namespace idsim {

// The largest level times the scale exceeds no element by more than rounding, so the differences are as
// exact as those of the 8-bit codes.
float nibble_residual(float sum_of_squares, float code_scale, int64_t d) {
  return residual_bound(sum_of_squares, 127.0F * 1.01F * code_scale, d);
}

QueryBound fine_digits(const float* q, int64_t d, int64_t d_pad, const int8_t* c1,
                       double stored_scale, const QueryBound& coarse, int8_t* c2) {
  double lost_squares = 0.0;
  for (int64_t i = 0; i < d_pad; ++i) {
    c2[i] = 0;
    if (!has_digits(coarse)) continue;
    const double x = i < d ? static_cast<double>(q[i]) : 0.0;
    const FineDigit fine = fine_digit(x, static_cast<double>(c1[i]), stored_scale);
    lost_squares += fine.lost * fine.lost;
    c2[i] = static_cast<int8_t>(fine.digit);
  }
  return fine_bound(coarse, stored_scale, lost_squares);
}

}  // namespace idsim

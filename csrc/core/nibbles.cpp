#include "core/nibbles.hpp"

namespace idsim {

// The largest level times the scale exceeds no element by more than rounding, so the differences are as
// exact as those of the 8-bit codes.
float nibble_residual(float sum_of_squares, float code_scale, int64_t d) {
  return residual_bound(sum_of_squares, 127.0F * 1.01F * code_scale, d);
}

QueryBound fine_digits(const float* q, int64_t d, int64_t d_pad, const int8_t* c1,
                       double stored_scale, const QueryBound& coarse, int8_t* c2) {
  QueryBound fine = coarse;
  if (!coarse.coded || coarse.norm == 0.0) {
    for (int64_t i = 0; i < d_pad; ++i) c2[i] = 0;
    fine.scale = coarse.scale / 256.0;
    return fine;
  }
  double lost = 0.0;
  for (int64_t i = 0; i < d_pad; ++i) {
    const double x = i < d ? static_cast<double>(q[i]) : 0.0;
    const double left = x - stored_scale * static_cast<double>(c1[i]);
    const double digit =
        std::fmin(std::fmax(std::nearbyint(left * 256.0 / stored_scale), -127.0), 127.0);
    const double error = left - stored_scale / 256.0 * digit;
    lost += error * error;
    c2[i] = static_cast<int8_t>(digit);
  }
  // `left` and the digit's share are exact or within 2^-52 of |x|, the sum within d 2^-52.
  const double unit = coarse.scale / stored_scale;
  fine.scale = coarse.scale / 256.0;
  fine.residual = std::sqrt(lost) * unit * (1.0 + 0x1p-30) + 0x1p-40 * coarse.norm;
  fine.coded_norm = (coarse.norm + fine.residual) * (1.0 + 0x1p-40);
  return fine;
}

}  // namespace idsim

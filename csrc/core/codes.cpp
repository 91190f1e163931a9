#include "core/codes.hpp"

namespace idsim {

bool codable(float max_abs, double squared_norm) {
  return has_codes(max_abs, std::sqrt(squared_norm));
}

RowStats finish_row_stats(float sum_of_squares, float max_abs, double squared_norm, int64_t d) {
  const double norm = std::sqrt(squared_norm);
  if (!std::isfinite(norm)) return uncoded_stats(std::numeric_limits<double>::quiet_NaN());
  if (!has_codes(max_abs, norm)) return uncoded_stats(norm);
  return {max_abs / 127.0F, residual_bound(sum_of_squares, max_abs, d), norm};
}

}  // namespace idsim

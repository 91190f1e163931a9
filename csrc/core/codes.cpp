#include "core/codes.hpp"

namespace idsim {

bool codable(float max_abs, double squared_norm) {
  return has_codes(max_abs, std::sqrt(squared_norm));
}

RowStats finish_row_stats(float sum_of_squares, float max_abs, double squared_norm, int64_t d) {
  return row_stats(sum_of_squares, max_abs, squared_norm, d);
}

}  // namespace idsim

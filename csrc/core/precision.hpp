// How closely the filter of a scan looks at pairs, and which way a question gets. It changes the work, never the answer.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/codes.hpp"
#include "core/types.hpp"

namespace idsim {

// int8, float16: codes of rows (core/codes.hpp, core/half.hpp). float32: the rows themselves (core/direct.hpp).
enum class Precision { automatic, int8, float16, float32 };

// Bytes of a row's codes.
IDSIM_HD constexpr int64_t code_bytes(Precision precision, int64_t d) {
  return precision == Precision::float32
             ? 0
             : padded_dim(d) * (precision == Precision::float16 ? 2 : 1);
}

// Compute capability 10.3 has next to none; its 16-bit ones are as fast as any.
IDSIM_HD constexpr bool has_int8_tensor_cores(int major, int minor) {
  return !(major == 10 && minor == 3);
}

struct Work {
  int64_t queries;
  int64_t k;     // results per query; 0: fixed thresholds
  int64_t rows;  // of the gallery
  bool int8_tensor_cores;
};

// Rows that pass the filter and are read whole, per wanted result, that 16-bit codes save: 3.7 - 1.0 of random rows.
inline constexpr int64_t kRowsSaved = 3;
// Queries from which the products take longer than reading the codes.
inline constexpr int64_t kComputeBound = 300;

// What rows are coded with. 16-bit codes cost one more byte of reading per element, shared by the queries, or as much in
// products once these are the limit; they save kRowsSaved * k rows of 4 bytes per element for every query. At many
// queries that is k / rows > 3e-4.
IDSIM_HD constexpr Precision coded_precision(const Work& work) {
  if (!work.int8_tensor_cores) return Precision::float16;
  if (work.k >= work.rows) return Precision::int8;  // every row is a result
  const int64_t sharing = work.queries < kComputeBound ? work.queries : kComputeBound;
  return 4 * kRowsSaved * work.k > work.rows / (sharing > 0 ? sharing : 1) ? Precision::float16
                                                                           : Precision::int8;
}

// Queries up to which rows that are read once are not coded. Coding reads 4 bytes per element and writes one, which is then
// read; float32 dots read 4, with 9 fused products for each: less than a third of what any chip since Ampere does meanwhile.
inline constexpr int64_t kMostDirect = 8;

// read_once: the gallery's rows have no codes, and none are kept.
IDSIM_HD constexpr Precision chosen_precision(Precision asked, const Work& work, bool read_once) {
  if (asked != Precision::automatic) return asked;
  return read_once && work.queries <= kMostDirect ? Precision::float32 : coded_precision(work);
}

// The codes of an index, of which is not known what will be asked, so that k counts for nothing.
IDSIM_HD constexpr Precision kept_precision(Precision asked, int64_t rows, bool int8_tensor_cores) {
  return chosen_precision(asked, {0, 0, rows, int8_tensor_cores}, false);
}

}  // namespace idsim

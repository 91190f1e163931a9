// Work on every row of an array: codes for a prepared gallery, and unit rows.
#pragma once

#include <cstdint>

#include "cpu/scan.hpp"

namespace idsim::cpu {

struct PreparedArrays {
  uint8_t* codes;   // [n, d_pad]
  float* scale;     // [n]
  float* residual;  // [n]
  double* norm;     // [n]; NaN marks a skipped row
};

// Throws NonFiniteRow unless options.skip_nonfinite.
ScanReport prepare(const RowSource& rows, const PreparedArrays& out, const ScanOptions& options);

// 4-bit codes of a prepared gallery, by kernels that have them.
NibbleArrays make_nibbles(const Gallery& gallery, Metric metric, const ScanOptions& options);

// out [n, d] = float32(x / sqrt(dot(x, x))), each element divided in float64; a zero row stays zero.
// Throws NonFiniteRow.
void normalize(const RowSource& rows, float* out, const ScanOptions& options);

}  // namespace idsim::cpu

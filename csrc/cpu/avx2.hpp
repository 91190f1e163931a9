// The row functions of the AVX2 table, see cpu/kernels.hpp. Only for machines with AVX2, FMA and F16C.
#pragma once

#include <cstdint>

#include "core/codes.hpp"

namespace idsim::cpu::avx2 {

RowStats quantize_row(const float* x, int64_t d, uint8_t* code);
double dot(const float* a, const float* b, int64_t d);
void dots_f32(const float* rows, int64_t stride, int n_rows, const float* queries, int n_queries,
              int64_t d, float* dots, float* squares);

}  // namespace idsim::cpu::avx2

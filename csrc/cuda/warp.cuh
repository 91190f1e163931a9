// What a warp computes of embedding rows: the canonical dot, the norm, the codes. One lane per partial sum of
// core/score.hpp, so that the bits are those of the CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "core/codes.hpp"
#include "core/half.hpp"
#include "core/score.hpp"
#include "core/types.hpp"
#include "core/widen.hpp"
#include "cuda/rows.hpp"

namespace idsim::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;
inline constexpr int kWarpSize = 32;
static_assert(kWarpSize == kLanes);

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x) % kWarpSize; }

// A row of a matrix as float32.
template <DType kType>
struct Row {
  const char* data;
  int64_t stride;  // bytes between elements

  __device__ float operator[](int64_t j) const {
    const char* p = data + j * stride;
    if constexpr (kType == DType::f32) return *reinterpret_cast<const float*>(p);
    if constexpr (kType == DType::f64)
      return static_cast<float>(*reinterpret_cast<const double*>(p));
    const uint16_t bits = *reinterpret_cast<const uint16_t*>(p);
    return kType == DType::f16 ? widen_f16(bits) : widen_bf16(bits);
  }
};

template <DType kType>
__device__ inline Row<kType> row_of(const MatrixView& m, int64_t i) {
  return {static_cast<const char*>(m.data) + i * m.row_stride, m.col_stride};
}

// Lane 0 gets the sum folded by halves; what the others get means nothing.
template <class T>
__device__ inline T fold_warp(T sum) {
  for (int width = kWarpSize / 2; width > 0; width /= 2) {
    sum += __shfl_down_sync(kAllLanes, sum, width);
  }
  return sum;
}

__device__ inline void note_nonfinite(NonFinite* found, int64_t row) {
  atomicAdd(&found->count, 1ULL);
  atomicMin(&found->first, static_cast<long long>(row));
}

// The canonical dot, in every lane. Products are exact, so that fusing leaves the bits and takes one of two operations
// off the float64 units, of which many chips have few.
template <class A, class B>
__device__ inline double warp_dot(const A& a, const B& b, int64_t d) {
  double sum = 0.0;
  for (int64_t j = lane_index(); j < d; j += kWarpSize) {
    sum = std::fma(static_cast<double>(a[j]), static_cast<double>(b[j]), sum);
  }
  return __shfl_sync(kAllLanes, fold_warp(sum), 0);
}

// The largest |x|; NaN never wins.
template <class A>
__device__ inline float warp_max_abs(const A& x, int64_t d) {
  float most = 0.0F;
  for (int64_t j = lane_index(); j < d; j += kWarpSize) {
    const float value = std::fabs(x[j]);
    most = value > most ? value : most;
  }
  for (int by = kWarpSize / 2; by > 0; by /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, most, by);
    most = other > most ? other : most;
  }
  return most;
}

// Codes and stats of a row, as core/codes.hpp defines them. write(j, code) stores the signed code of element j < d_pad.
template <class A, class Write>
__device__ inline RowStats warp_quantize(const A& x, int64_t d, int64_t d_pad, const Write& write) {
  constexpr float kRounder = 0x1.8p23F;  // adding it leaves the nearest integer in the low bits
  const float most = warp_max_abs(x, d);
  const double squared_norm = warp_dot(x, x, d);
  if (!has_codes(most, std::sqrt(squared_norm))) {
    for (int64_t j = lane_index(); j < d_pad; j += kWarpSize) write(j, 0);
    return row_stats(0.0F, most, squared_norm, d);
  }
  const float inverse = 127.0F / most;
  const float scale = most / 127.0F;
  float lost_squares = 0.0F;
  for (int64_t j = lane_index(); j < d_pad; j += kWarpSize) {
    if (j >= d) {
      write(j, 0);
      continue;
    }
    const float value = x[j];
    const float shifted = value * inverse + kRounder;
    const float rounded = shifted - kRounder;
    const float lost = value - scale * rounded;
    lost_squares += lost * lost;
    write(j, static_cast<int>(rounded));
  }
  const float sum = __shfl_sync(kAllLanes, fold_warp(lost_squares), 0);
  return row_stats(sum, most, squared_norm, d);
}

// The same for the 16-bit codes of core/half.hpp, into code[0 .. d_pad).
template <class A>
__device__ inline RowStats warp_code_half(const A& x, int64_t d, int64_t d_pad, double sum_error,
                                          uint16_t* code) {
  const float most = warp_max_abs(x, d);
  const double squared_norm = warp_dot(x, x, d);
  const bool coded = has_codes(most, std::sqrt(squared_norm));
  const float scale = coded ? half_scale(most) : 1.0F;
  const float inverse = 1.0F / scale;
  double lost_squares = 0.0;
  for (int64_t j = lane_index(); j < d_pad; j += kWarpSize) {
    const float value = coded && j < d ? x[j] : 0.0F;
    const uint16_t bits = half_code(value * inverse);
    const auto lost = static_cast<double>(value - scale * widen_f16(bits));
    lost_squares += lost * lost;
    code[j] = bits;
  }
  const double sum = __shfl_sync(kAllLanes, fold_warp(lost_squares), 0);
  return half_stats(sum, most, squared_norm, d, sum_error);
}

}  // namespace idsim::cuda

// The nouns that every layer shares. Views do not own what they point to.
#pragma once

#include <cstdint>

// Functions that CUDA kernels call as well.
#if defined(__CUDACC__)
#define IDSIM_HD __host__ __device__
#else
#define IDSIM_HD
#endif

namespace idsim {

enum class DType { f32, f16, bf16, f64 };

enum class Metric { cosine, dot, l2 };

// A matrix of embeddings somewhere in memory. Strides are in bytes and may be 0 or negative.
struct MatrixView {
  const void* data = nullptr;  // element (0, 0)
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;
  int64_t col_stride = 0;
  DType dtype = DType::f32;
};

// One result: a gallery row and its returned score.
struct Scored {
  float score;
  int64_t id;
};

}  // namespace idsim

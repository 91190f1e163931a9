#include "cuda/ordering.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "cuda/dispatch.hpp"
#include "cuda/launch.cuh"
#include "cuda/ptx/shared.cuh"
#include "cuda/tiles.hpp"
#include "cuda/warp.cuh"

namespace idsim::cuda {
namespace {

constexpr int kKeyThreads = 256;
constexpr int kKeysPerBlock = kKeyThreads / kWarpSize;
constexpr int kSortThreads = 1024;
constexpr size_t kSortBytes = kOrderBlock * sizeof(uint32_t);

// What row_terms will make of u, but for rounding; +inf for rows that get no codes. float32 is enough: squares of what has
// codes neither overflow nor vanish.
__device__ float order_key(Metric metric, Precision precision, float max_abs, float square) {
  const float norm = std::sqrt(square);
  if (!has_codes(max_abs, static_cast<double>(norm))) {
    return std::numeric_limits<float>::infinity();
  }
  const float scale = precision == Precision::float16 ? half_scale(max_abs) : max_abs;
  return (metric == Metric::cosine ? norm : 1.0F) / scale;
}

template <DType kType>
__global__ __launch_bounds__(kKeyThreads) void key_rows(MatrixView rows, Metric metric,
                                                        Precision precision, float* keys) {
  const int64_t stride = int64_t{gridDim.x} * kKeysPerBlock;
  int64_t i = int64_t{blockIdx.x} * kKeysPerBlock + threadIdx.x / kWarpSize;
  for (; i < rows.rows; i += stride) {
    const Row<kType> row = row_of<kType>(rows, i);
    float most = 0.0F, square = 0.0F;
    for (int64_t j = lane_index(); j < rows.cols; j += kWarpSize) {
      const float value = std::fabs(row[j]);
      most = value > most ? value : most;
      square += value * value;
    }
    for (int by = kWarpSize / 2; by > 0; by /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, most, by);
      most = other > most ? other : most;
    }
    square = fold_warp(square);
    if (lane_index() == 0) keys[i] = order_key(metric, precision, most, square);
  }
}

// A key that is not negative, cut to 19 bits that are ordered as it is, and the row of the block.
__device__ uint32_t order_word(float key, unsigned row) {
  static_assert(kOrderBlock == 1 << 13);
  return (std::bit_cast<uint32_t>(key) << 1 & ~uint32_t{kOrderBlock - 1}) | row;
}

// Ascending. Bitonic with mirrored first steps, as block_sort: every exchange puts the lesser one first, so elements
// beyond n need not exist.
__device__ void sort_words(uint32_t* words, unsigned n) {
  unsigned pairs = 1;
  while (2 * pairs < n) pairs *= 2;
  // Every i whose bit `stride` is 0 with its partner, i with the bits of `differs` turned over.
  const auto exchange = [&](unsigned stride, unsigned differs) {
    for (unsigned pair = threadIdx.x; pair < pairs; pair += kSortThreads) {
      const unsigned i = 2 * pair - (pair & (stride - 1)), j = i ^ differs;
      if (j >= n) continue;
      const uint32_t a = words[i], b = words[j];
      if (a < b) continue;
      words[i] = b;
      words[j] = a;
    }
    __syncthreads();
  };
  for (unsigned size = 2; size / 2 < n; size *= 2) {
    exchange(size / 2, size - 1);
    for (unsigned stride = size / 4; stride > 0; stride /= 2) exchange(stride, stride);
  }
}

// One block of threads per block of rows.
__global__ __launch_bounds__(kSortThreads) void sort_rows(const float* keys, int64_t n,
                                                          int16_t* order) {
  auto* words = reinterpret_cast<uint32_t*>(ptx::shared_memory());
  const int64_t first = int64_t{blockIdx.x} * kOrderBlock, left = n - first;
  const auto here = static_cast<unsigned>(left < kOrderBlock ? left : kOrderBlock);
  for (unsigned i = threadIdx.x; i < here; i += kSortThreads) {
    words[i] = order_word(keys[first + i], i);
  }
  __syncthreads();
  sort_words(words, here);
  for (unsigned i = threadIdx.x; i < here; i += kSortThreads) {
    const auto row = static_cast<int>(words[i] & (kOrderBlock - 1));
    order[first + i] = static_cast<int16_t>(row - static_cast<int>(i));
  }
}

}  // namespace

bool wants_order(int device, Precision precision) {
  return precision != Precision::float32 && tile_tier(device) == TileTier::wgmma;
}

void order_rows(const MatrixView& rows, Metric metric, const CodedRows& out, cudaStream_t stream) {
  if (rows.rows == 0) return;
  with_dtype(rows.dtype, [&](auto type) {
    launch("keying rows", key_rows<type()>, blocks_for(rows.rows, kKeysPerBlock), kKeyThreads, 0,
           stream, rows, metric, out.precision, out.u);
  });
  launch("ordering rows", sort_rows, blocks_for(rows.rows, kOrderBlock), kSortThreads, kSortBytes,
         stream, out.u, rows.rows, out.order);
}

}  // namespace idsim::cuda

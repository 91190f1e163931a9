// What the threads of a block compute together: positions of kept elements, the k-th key, a sort.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/order.hpp"
#include "cuda/warp.cuh"

namespace idsim::cuda {

inline constexpr int kBlockThreads = 256;
inline constexpr int kBlockWarps = kBlockThreads / kWarpSize;
inline constexpr int kBins = 256;

struct BlockScratch {
  unsigned histogram[kBins];
  int warp_totals[kBlockWarps];
  ResultKey prefix;
  int64_t remaining;
  bool decided;
  unsigned worst;
};

// Number of lower threads with `keep`; *total: of all. Every thread takes part.
__device__ inline int block_position(bool keep, BlockScratch& s, int* total) {
  const unsigned votes = __ballot_sync(kAllLanes, keep);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  if (lane_index() == 0) s.warp_totals[warp] = __popc(votes);
  __syncthreads();
  int before = __popc(votes & ((1U << lane_index()) - 1U));
  *total = 0;
  for (int w = 0; w < kBlockWarps; ++w) {
    if (w < warp) before += s.warp_totals[w];
    *total += s.warp_totals[w];
  }
  __syncthreads();
  return before;
}

// The bin that holds the remaining-th element of the histogram, found by the first warp.
__device__ inline void choose_digit(BlockScratch& s, int p, bool stop_early) {
  constexpr int kPerLane = kBins / kWarpSize;
  const int lane = lane_index();
  int64_t mine = 0;
  for (int i = 0; i < kPerLane; ++i) mine += s.histogram[lane * kPerLane + i];
  int64_t through = mine;  // this lane's bins and those before
  for (int by = 1; by < kWarpSize; by *= 2) {
    const int64_t other = __shfl_sync(kAllLanes, through, lane >= by ? lane - by : lane);
    if (lane >= by) through += other;
  }
  const int64_t wanted = s.remaining;
  __syncwarp();
  int64_t before = through - mine;
  if (wanted <= before || wanted > through) return;
  for (int bin = lane * kPerLane;; ++bin) {
    if (wanted > before + s.histogram[bin]) {
      before += s.histogram[bin];
      continue;
    }
    s.prefix = s.prefix.with_digit(p, static_cast<uint32_t>(bin));
    s.remaining = wanted - before;
    s.decided = stop_early && s.remaining == s.histogram[bin];
    return;
  }
}

// The k-th smallest of n keys, 1 <= k <= n, by the first kDigits digits. kStopEarly: any key that no key lies between
// it and the k-th smallest will do.
template <int kDigits, bool kStopEarly, class Key>
__device__ ResultKey kth_key(const Key& key, int64_t n, int64_t k, BlockScratch& s) {
  if (threadIdx.x == 0) {
    s.prefix = {0, 0};
    s.remaining = k;
    s.decided = false;
  }
  int p = 0;
  for (; p < kDigits; ++p) {
    for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kBlockThreads) s.histogram[i] = 0;
    __syncthreads();
    const ResultKey prefix = s.prefix;
    for (int64_t i = threadIdx.x; i < n; i += kBlockThreads) {
      const ResultKey x = key(i);
      if (x.prefix(p) == prefix) atomicAdd(&s.histogram[x.digit(p)], 1U);
    }
    __syncthreads();
    if (threadIdx.x < kWarpSize) choose_digit(s, p, kStopEarly);
    __syncthreads();
    if (s.decided) break;
  }
  ResultKey out = s.prefix;
  for (int rest = p + 1; rest < kKeyDigits; ++rest) out = out.with_digit(rest, 0xFFU);
  __syncthreads();
  return out;
}

// Sorts scores and ids, best first. Bitonic with mirrored first steps: every exchange puts the better one first, so
// elements beyond n need not exist.
__device__ inline void block_sort(Metric metric, float* scores, int64_t* ids, int64_t n) {
  const auto exchange = [&](int64_t i, int64_t j) {
    if (j >= n) return;
    const float a = scores[i], b = scores[j];
    const int64_t x = ids[i], y = ids[j];
    if (!(result_key(metric, b, y) < result_key(metric, a, x))) return;
    scores[i] = b;
    ids[i] = y;
    scores[j] = a;
    ids[j] = x;
  };
  for (int64_t size = 2; size / 2 < n; size *= 2) {
    for (int64_t i = threadIdx.x; i < (n + size - 1) / size * (size / 2); i += kBlockThreads) {
      const int64_t base = i / (size / 2) * size, at = i % (size / 2);
      exchange(base + at, base + size - 1 - at);
    }
    __syncthreads();
    for (int64_t stride = size / 4; stride > 0; stride /= 2) {
      for (int64_t i = threadIdx.x; i < (n + 1) / 2 + stride; i += kBlockThreads) {
        const int64_t low = i / stride * 2 * stride + i % stride;
        exchange(low, low + stride);
      }
      __syncthreads();
    }
  }
}

}  // namespace idsim::cuda

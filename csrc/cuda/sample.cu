#include "cuda/sample.hpp"

#include <algorithm>
#include <limits>

#include "core/device_plan.hpp"
#include "cuda/direct.cuh"
#include "cuda/launch.cuh"
#include "cuda/row_scan.cuh"
#include "cuda/tile.cuh"
#include "cuda/warp.cuh"

namespace idsim::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = kThreads / kWarpSize;

__global__ __launch_bounds__(kThreads) void gather_sample(Gallery gallery, Metric metric,
                                                          SampleRule rule, uint8_t* codes,
                                                          SampleTerms* terms) {
  const int64_t j = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarpSize;
  if (j >= rule.count) return;
  const int64_t slot = rule.row(j);
  const int64_t pitch = code_bytes(gallery.coded.precision, gallery.dim());
  const auto* from = reinterpret_cast<const uint4*>(gallery.coded.codes + slot * pitch);
  auto* to = reinterpret_cast<uint4*>(codes + j * pitch);
  for (int64_t i = lane_index(); i < pitch / 16; i += kWarpSize) to[i] = from[i];
  if (lane_index() == 0) {
    terms[j] = sample_terms(metric, gallery.coded.scale[slot], gallery.coded.residual[slot],
                            gallery.coded.norm[slot]);
  }
}

struct WriteKeys {
  SampleRule rule;
  const SampleTerms* terms;
  Queries::View queries;
  Gallery gallery;
  Exclusion exclusion;
  int64_t first, n;  // queries
  float* keys;

  template <class P>
  __device__ void operator()(const P& p, int64_t row0, int64_t query0) const {
#pragma unroll
    for (int j = 0; j < P::kQueryCount; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t at = query0 + p.query(j, e);  // counts from `first`
        if (at >= n) continue;
        const KeyTerms query = key_terms(queries.bounds[first + at]);
#pragma unroll
        for (int i = 0; i < P::kRowCount; ++i) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int64_t row = row0 + p.row(i, 2 * half);
            if (row >= rule.count) continue;
            const bool dropped = exclusion.drops(first + at, gallery, gallery.row(rule.row(row)));
            keys[at * rule.count + row] =
                dropped
                    ? -std::numeric_limits<float>::infinity()
                    : certain_key(query, terms[row], static_cast<float>(p.acc[i][j][2 * half + e]));
          }
        }
      }
    }
  }
};

struct WriteDirectKeys {
  SampleRule rule;
  Queries::View queries;
  Gallery gallery;
  Exclusion exclusion;
  int64_t first;  // query of the first keys
  float* keys;

  __device__ void operator()(const DirectPair& pair) const {
    if (!pair.real) return;
    const SampleTerms x =
        direct_sample_terms(queries.metric, pair.square, direct_error(queries.dim));
    const bool dropped = !pair.finite || exclusion.drops(pair.query, gallery, pair.row);
    keys[(pair.query - first) * rule.count + pair.item] =
        dropped ? -std::numeric_limits<float>::infinity()
                : certain_key(key_terms(queries.bounds[pair.query]), x, pair.dot);
  }
};

}  // namespace

Sample::Sample(const Gallery& gallery, Metric metric, int64_t k, cudaStream_t stream)
    : rule_(device_sample(gallery.count(), k)),
      stream_(stream),
      codes_(rule_.count * code_bytes(gallery.coded.precision, gallery.dim()), stream),
      terms_(gallery.coded.precision == Precision::float32 ? 0 : rule_.count, stream) {
  if (gallery.coded.precision == Precision::float32) return;
  launch("sampling", gather_sample, blocks_for(rule_.count, kRowsPerBlock), kThreads, 0, stream,
         gallery, metric, rule_, codes_.data(), terms_.data());
}

void Sample::keys(const Queries::View& queries, const Gallery& gallery, const Exclusion& exclusion,
                  int64_t first, int64_t n, float* keys) const {
  if (queries.precision == Precision::float32) {
    return launch_direct(
        "scanning a sample", gallery, rule_, queries, first, n,
        [&](int64_t) { return WriteDirectKeys{rule_, queries, gallery, exclusion, first, keys}; },
        stream_);
  }
  const int64_t padded = (n + kTileQueries - 1) / kTileQueries * kTileQueries;
  const TileScan tiles = tile_scan(codes_.data(), rule_.count, queries, first, padded);
  const WriteKeys epilogue{rule_, terms_.data(), queries, gallery, exclusion, first, n, keys};
  if (queries.digits == 2) {
    return launch_two_digits("scanning a sample", tiles, n, epilogue, stream_);
  }
  with_codes(queries.precision, [&](auto codes) {
    launch_tiles<decltype(codes)>("scanning a sample", tiles, epilogue, stream_);
  });
}

}  // namespace idsim::cuda

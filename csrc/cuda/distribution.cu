#include "cuda/distribution.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "core/bins.hpp"
#include "cuda/dispatch.hpp"
#include "cuda/fetch.cuh"
#include "cuda/launch.cuh"
#include "cuda/pairs.cuh"
#include "cuda/score.cuh"

namespace idsim::cuda {
namespace {

constexpr int kThreads = 256;
// Two histograms of so many bins fit the memory of the tile's stages.
constexpr int kSharedBins = static_cast<int>(kTileSharedBytes / (2 * sizeof(unsigned)));

__global__ void set_queries(Queries::View queries, float tail, float* scale, float* a) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= queries.padded) return;
  const bool real = i < queries.count;
  scale[i] = real ? static_cast<float>(queries.bounds[i].scale) : 0.0F;
  a[i] = real ? query_terms(Metric::cosine, queries.bounds[i], tail).a
              : std::numeric_limits<float>::infinity();
}

__device__ bool is_mated(const Distribution::View& view, const Gallery& gallery, int64_t query,
                         int64_t row) {
  return view.query_groups != nullptr && gallery.groups != nullptr &&
         view.query_groups[query] == gallery.groups[row];
}

// Bins the estimates of a tile and lists the pairs that may reach the tail.
struct BinEstimates {
  Distribution::View view;
  Queries::View queries;
  Gallery gallery;
  int64_t first_query;
  PairList list;

  __device__ void operator()(const TileProducts<Int8Codes>& p, int64_t row0, int64_t query0) const {
    auto* histogram = reinterpret_cast<unsigned*>(ptx::shared_memory());
    const bool shared = view.bins <= kSharedBins;
    __syncthreads();  // the stages are no longer read
    for (int i = static_cast<int>(threadIdx.x); shared && i < 2 * view.bins; i += kTileThreads) {
      histogram[i] = 0;
    }
    __syncthreads();
    TileHits exact;
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t slot = row0 + p.row(i, 2 * half);
        if (slot >= gallery.count()) continue;
        const double norm = gallery.coded.norm[slot];
        if (std::isnan(norm)) continue;
        const float row_scale = estimate_scale(gallery.coded.scale[slot], norm);
        const float u = gallery.coded.u[slot], v = gallery.coded.v[slot];
        const int64_t row = gallery.row(slot);
#pragma unroll
        for (int j = 0; j < kQueryFragments; ++j) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int64_t query = first_query + query0 + p.query(j, e);
            if (query >= queries.count) continue;
            if (view.exclusion.drops(query, gallery, row)) continue;
            const auto product = static_cast<float>(p.acc[i][j][2 * half + e]);
            if (product >= view.a[query] * u - queries.b[query] * v) {
              exact.set(i, j, half, e, true);
              continue;
            }
            const int bin = estimate_bin(product, view.scale[query], row_scale, view.bins);
            const int at = bin + (is_mated(view, gallery, query, row) ? view.bins : 0);
            if (shared) {
              atomicAdd(&histogram[at], 1U);
            } else {
              atomicAdd(&view.counts[at], 1ULL);
            }
          }
        }
      }
    }
    append_hits(p, exact, row0, first_query + query0, list);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); shared && i < 2 * view.bins; i += kTileThreads) {
      if (histogram[i] > 0) {
        atomicAdd(&view.counts[i], static_cast<unsigned long long>(histogram[i]));
      }
    }
  }
};

template <DType kType>
__global__ __launch_bounds__(kListThreads) void bin_exactly(Distribution::View view,
                                                            Queries::View queries, Gallery gallery,
                                                            const ListedPair* pairs,
                                                            const unsigned long long* count) {
  for_listed(pairs, count, [&](const ListedPair& pair) {
    if (!gallery.there(pair.slot)) return;
    const float score = warp_score<kType>(queries, gallery, pair.query, pair.slot);
    if (lane_index() != 0) return;
    const int bin = exact_bin(static_cast<double>(score), view.bins);
    const bool mated = is_mated(view, gallery, pair.query, gallery.row(pair.slot));
    atomicAdd(&view.counts[bin + (mated ? view.bins : 0)], 1ULL);
  });
}

struct AllNeeded {
  __device__ bool operator()(const ListedPair&) const { return true; }
};

// A row that always passes is always binned by its canonical score.
__global__ void note_residuals(Gallery gallery, unsigned long long* worst) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= gallery.count() || !std::isfinite(gallery.coded.v[i])) return;
  const double norm = gallery.coded.norm[i];
  if (std::isnan(norm)) return;
  const double unit = norm > 0.0 ? 1.0 / norm : 0.0;
  const double residual = static_cast<double>(gallery.coded.residual[i]) * unit;
  // Doubles that are not negative are ordered as their bits.
  atomicMax(worst, std::bit_cast<unsigned long long>(residual));
}

}  // namespace

Distribution::Distribution(const MatrixView& queries, int bins, float tail,
                           const Exclusion& exclusion, const int64_t* query_groups,
                           NonFinite* found, cudaStream_t stream)
    : exclusion_(exclusion),
      stream_(stream),
      queries_(queries, Metric::cosine, found, stream),
      bins_(bins),
      scale_(queries_.view().padded, stream),
      a_(queries_.view().padded, stream),
      counts_(2 * int64_t{bins}, stream),
      worst_row_(1, stream),
      count_(1, stream) {
  queries_.use(Precision::int8);
  counts_.set_bytes(0);
  worst_row_.set_bytes(0);
  launch("preparing queries", set_queries,
         blocks_for(std::max<int64_t>(queries_.view().padded, 1), kThreads), kThreads, 0, stream,
         queries_.view(), tail, scale_.data(), a_.data());
  view_ = {bins,         scale_.data(), a_.data(), counts_.data(), worst_row_.data(),
           query_groups, exclusion};
}

void Distribution::feed(const Gallery& gallery) {
  const Queries::View& queries = queries_.view();
  if (gallery.count() == 0 || queries.count == 0) return;
  launch("noting residuals", note_residuals, blocks_for(gallery.count(), kThreads), kThreads, 0,
         stream_, gallery, worst_row_.data());
  for (int64_t first = 0; first < queries.count; first += kMostQueries) {
    const int64_t padded = std::min(kMostQueries, queries.padded - first);
    int64_t rows = std::min({slab_rows(padded), gallery.count(), most_slab_rows(gallery)});
    make_room(pairs_, padded, &rows, stream_);
    for (int64_t begin = 0; begin < gallery.count(); begin += rows) {
      const Gallery slab = slice(gallery, begin, std::min(rows, gallery.count() - begin));
      count_.set_bytes(0);
      launch_tiles<Int8Codes>(
          "binning", tile_scan(slab.coded.codes, slab.count(), queries, first, padded),
          BinEstimates{view_, queries, slab, first, {pairs_.data(), count_.data()}}, stream_);
      const auto mark = [&](const RowMarks& marks) {
        launch("marking rows", mark_pairs<AllNeeded>, blocks_for(kListBlocks, 1), kListThreads, 0,
               stream_, pairs_.data(), count_.data(), AllNeeded{}, marks);
      };
      with_rows(slab, mark, [&](const Gallery& turn) {
        with_dtype(turn.rows.dtype, [&](auto type) {
          launch("binning the tail", bin_exactly<type()>, blocks_for(kListBlocks, 1), kListThreads,
                 0, stream_, view_, queries, turn, pairs_.data(), count_.data());
        });
      });
    }
  }
}

void Distribution::fetch(void* to, const void* from, size_t bytes) const {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying counts");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

void Distribution::add_to(uint64_t* non_mated, uint64_t* mated) const {
  std::vector<uint64_t> counts(2 * static_cast<size_t>(bins_));
  fetch(counts.data(), counts_.data(), counts.size() * sizeof(uint64_t));
  for (int i = 0; i < bins_; ++i) {
    non_mated[i] += counts[static_cast<size_t>(i)];
    mated[i] += counts[static_cast<size_t>(i + bins_)];
  }
}

double Distribution::worst_row() const {
  unsigned long long bits = 0;
  fetch(&bits, worst_row_.data(), sizeof bits);
  return std::bit_cast<double>(bits);
}

double Distribution::max_error(double worst_row) const {
  std::vector<QueryBound> bounds(static_cast<size_t>(queries_.view().count));
  fetch(bounds.data(), queries_.view().bounds, bounds.size() * sizeof(QueryBound));
  return largest_estimate_error(bounds.data(), static_cast<int64_t>(bounds.size()), worst_row);
}

}  // namespace idsim::cuda

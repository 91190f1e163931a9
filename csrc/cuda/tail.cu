#include "cuda/tail.hpp"

#include <algorithm>

#include "cuda/direct.cuh"
#include "cuda/dispatch.hpp"
#include "cuda/fetch.cuh"
#include "cuda/launch.cuh"
#include "cuda/pairs.cuh"
#include "cuda/score.cuh"
#include "cuda/tile_sm90.cuh"
#include "cuda/tiles.hpp"

namespace idsim::cuda {
namespace {

constexpr int kThreads = 256;

__device__ bool reaches(Metric metric, float score, float threshold) {
  return metric == Metric::l2 ? score <= threshold : score >= threshold;
}

__global__ void set_terms(Queries::View queries, float reach, float* a) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= queries.padded) return;
  a[i] = i < queries.count ? query_terms(queries.metric, queries.bounds[i], reach).a
                           : std::numeric_limits<float>::infinity();
}

template <bool kThree>
struct ListPairs {
  CodedRows coded;
  const float* a;  // of the scan's first query, as b and c
  const float* b;
  const float* c;
  int64_t first_query;
  int64_t n_rows;
  PairList list;

  __device__ QueryTerms query_terms(int64_t query) const {
    return {a[query], b[query], kThree ? c[query] : 0.0F};
  }
  __device__ RowTerms row_terms(int64_t row) const {
    return {coded.u[row], coded.v[row], kThree ? coded.w[row] : 0.0F};
  }
  template <class Sum>
  __device__ void keep(int64_t query, int64_t row, Sum dot) const {
    list.add(first_query + query, row, stored(dot));
  }

  template <class P>
  __device__ void operator()(const P& p, int64_t row0, int64_t query0) const {
    TileHits hits;
#pragma unroll
    for (int j = 0; j < kQueryFragments; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t query = query0 + p.query(j, e);
        const QueryTerms terms = query_terms(query);
#pragma unroll
        for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int64_t row = row0 + p.row(i, 2 * half);
            if (row >= n_rows) continue;
            const float dot = static_cast<float>(p.acc[i][j][2 * half + e]);
            hits.set(i, j, half, e, dot >= row_limit(terms, row_terms(row)));
          }
        }
      }
    }
    append_hits(p, hits, row0, first_query + query0, list);
  }
};

struct ListDirectPairs {
  DirectRows rows;
  Queries::View queries;
  const float* a;  // of query 0
  PairList list;

  __device__ void operator()(const DirectPair& pair) const {
    const RowTerms x = rows.terms(pair);
    rows.keep(pair, x);
    if (!pair.real) return;
    const QueryTerms terms{a[pair.query], queries.b[pair.query], queries.c[pair.query]};
    if (!(pair.dot >= row_limit(terms, x))) return;
    list.add(pair.query, pair.row, stored(pair.dot));
  }
};

struct Levels {
  const float* values;
  int count;

  // Whether a score in this range may lie on either side of one.
  __device__ bool split(Metric metric, const ScoreRange& range) const {
    bool splits = false;
    for (int t = 0; t < count; ++t) {
      splits |=
          !reaches(metric, range.certain, values[t]) && reaches(metric, range.possible, values[t]);
    }
    return splits;
  }
};

__device__ ScoreRange range_of(const Queries::View& queries, const Gallery& gallery,
                               const ListedPair& pair) {
  return score_range(queries.metric, queries.bounds[pair.query], gallery.coded.scale[pair.slot],
                     gallery.coded.residual[pair.slot], gallery.coded.norm[pair.slot],
                     sum_as<double>(pair.dot, queries.integer_sums()));
}

template <DType kType>
__global__ __launch_bounds__(kListThreads) void count_pairs(
    Queries::View queries, Gallery gallery, Exclusion exclusion, const ListedPair* pairs,
    const unsigned long long* count, Levels levels, unsigned long long* counts) {
  const Metric metric = queries.metric;
  for_listed(pairs, count, [&](const ListedPair& pair) {
    if (exclusion.drops(pair.query, gallery, gallery.row(pair.slot))) return;
    // Rows without codes have no stats for a range: all that is listed is scored.
    const bool coded = gallery.coded.scale != nullptr;
    const ScoreRange range = coded ? range_of(queries, gallery, pair) : ScoreRange{};
    const bool undecided = !coded || levels.split(metric, range);
    if (undecided ? !gallery.there(pair.slot) : !gallery.first_turn()) return;
    const float score =
        undecided ? warp_score<kType>(queries, gallery, pair.query, pair.slot) : range.certain;
    for (int t = lane_index(); t < levels.count; t += kWarpSize) {
      if (reaches(metric, score, levels.values[t])) {
        atomicAdd(&counts[int64_t{pair.query} * levels.count + t], 1ULL);
      }
    }
  });
}

struct NeededForCount {
  Queries::View queries;
  Gallery gallery;
  Exclusion exclusion;
  Levels levels;

  __device__ bool operator()(const ListedPair& pair) const {
    return !exclusion.drops(pair.query, gallery, gallery.row(pair.slot)) &&
           levels.split(queries.metric, range_of(queries, gallery, pair));
  }
};

struct NeededForPair {
  Gallery gallery;
  Exclusion exclusion;

  __device__ bool operator()(const ListedPair& pair) const {
    return !exclusion.drops(pair.query, gallery, gallery.row(pair.slot));
  }
};

template <DType kType>
__global__ __launch_bounds__(kListThreads) void keep_pairs(Queries::View queries, Gallery gallery,
                                                           Exclusion exclusion,
                                                           const ListedPair* pairs,
                                                           const unsigned long long* count,
                                                           float threshold, FoundPair* found,
                                                           unsigned long long* found_count) {
  for_listed(pairs, count, [&](const ListedPair& pair) {
    const int64_t row = gallery.row(pair.slot);
    if (exclusion.drops(pair.query, gallery, row) || !gallery.there(pair.slot)) return;
    const float score = warp_score<kType>(queries, gallery, pair.query, pair.slot);
    if (lane_index() != 0 || !reaches(queries.metric, score, threshold)) return;
    found[atomicAdd(found_count, 1ULL)] = {pair.query, gallery.first_id + row, score};
  });
}

}  // namespace

TailScan::TailScan(const MatrixView& queries, Metric metric, float loosest,
                   const Exclusion& exclusion, NonFinite* found, cudaStream_t stream)
    : exclusion_(exclusion),
      stream_(stream),
      loosest_(loosest),
      queries_(queries, metric, found, stream),
      a_(queries_.view().padded, stream),
      count_(1, stream) {}

void TailScan::use(Precision precision) {
  const Queries::View& view = queries_.view();
  if (!queries_.use(precision)) return;
  launch("setting thresholds", set_terms, blocks_for(view.padded, kThreads), kThreads, 0, stream_,
         view, loosest_, a_.data());
}

void TailScan::feed(const Gallery& gallery) {
  const Queries::View& view = queries_.view();
  use(gallery.coded.precision);
  for (int64_t first = 0; first < view.count; first += kMostQueries) {
    const int64_t padded = std::min(kMostQueries, view.padded - first);
    int64_t rows = std::min({slab_rows(padded), gallery.count(), most_slab_rows(gallery)});
    make_room(pairs_, padded, &rows, stream_);
    for (int64_t begin = 0; begin < gallery.count(); begin += rows) {
      const Gallery slab = slice(gallery, begin, std::min(rows, gallery.count() - begin));
      count_.set_bytes(0);
      list(slab, first, padded, {pairs_.data(), count_.data()});
      with_rows(
          slab, [&](const RowMarks& marks) { mark(slab, pairs_.data(), count_.data(), marks); },
          [&](const Gallery& turn) { decide(turn, pairs_.data(), count_.data()); });
    }
  }
}

void TailScan::list(const Gallery& slab, int64_t first, int64_t padded, const PairList& pairs) {
  const Queries::View& view = queries_.view();
  if (view.precision == Precision::float32) {
    const int64_t n = std::min(padded, view.count - first);
    const auto epilogue = [&](int64_t at) {
      return ListDirectPairs{direct_rows(slab, view, at == 0), view, a_.data(), pairs};
    };
    return launch_direct("scanning rows", slab, EveryRow{slab.count()}, view, first, n, epilogue,
                         stream_);
  }
  const TileScan tiles = tile_scan(slab.coded.codes, slab.count(), view, first, padded);
  const TilePlan plan = plan_tiles({padded, slab.count(), view.pitch}, tile_device());
  const auto scan = [&](const auto& epilogue) {
    with_codes(view.precision, [&](auto codes) {
      if (plan.kernel == TileKernel::groups) {
        launch_groups<decltype(codes)>("scanning", tiles, plan, epilogue, stream_);
      } else {
        launch_tiles<decltype(codes)>("scanning", tiles, epilogue, stream_);
      }
    });
  };
  const float *a = a_.data() + first, *b = view.b + first, *c = view.c + first;
  if (view.metric == Metric::l2) {
    scan(ListPairs<true>{slab.coded, a, b, c, first, slab.count(), pairs});
  } else {
    scan(ListPairs<false>{slab.coded, a, b, c, first, slab.count(), pairs});
  }
}

CountAbove::CountAbove(const MatrixView& queries, Metric metric,
                       const std::vector<float>& thresholds, const Exclusion& exclusion,
                       NonFinite* found, cudaStream_t stream)
    : TailScan(queries, metric,
               metric == Metric::l2 ? *std::max_element(thresholds.begin(), thresholds.end())
                                    : *std::min_element(thresholds.begin(), thresholds.end()),
               exclusion, found, stream),
      thresholds_(static_cast<int>(thresholds.size())),
      levels_(thresholds_, stream),
      counts_(queries.rows * thresholds_, stream) {
  levels_.upload(thresholds.data(), thresholds_);
  counts_.set_bytes(0);
}

void CountAbove::decide(const Gallery& slab, const ListedPair* pairs,
                        const unsigned long long* count) {
  with_dtype(slab.rows.dtype, [&](auto type) {
    launch("counting", count_pairs<type()>, blocks_for(kListBlocks, 1), kListThreads, 0, stream_,
           queries(), slab, exclusion_, pairs, count, Levels{levels_.data(), thresholds_},
           counts_.data());
  });
}

void CountAbove::mark(const Gallery& slab, const ListedPair* pairs, const unsigned long long* count,
                      const RowMarks& marks) {
  launch("marking rows", mark_pairs<NeededForCount>, blocks_for(kListBlocks, 1), kListThreads, 0,
         stream_, pairs, count,
         NeededForCount{queries(), slab, exclusion_, {levels_.data(), thresholds_}}, marks);
}

void CountAbove::fetch(int64_t* counts) const {
  static_assert(sizeof(int64_t) == sizeof(unsigned long long));
  check(
      cudaMemcpyAsync(counts, counts_.data(), static_cast<size_t>(counts_.size()) * sizeof(int64_t),
                      cudaMemcpyDeviceToHost, stream_),
      "copying counts");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

PairsAbove::PairsAbove(const MatrixView& queries, Metric metric, float threshold,
                       const Exclusion& exclusion, NonFinite* found, cudaStream_t stream)
    : TailScan(queries, metric, threshold, exclusion, found, stream),
      threshold_(threshold),
      found_count_(1, stream) {}

void PairsAbove::mark(const Gallery& slab, const ListedPair* pairs, const unsigned long long* count,
                      const RowMarks& marks) {
  launch("marking rows", mark_pairs<NeededForPair>, blocks_for(kListBlocks, 1), kListThreads, 0,
         stream_, pairs, count, NeededForPair{slab, exclusion_}, marks);
}

void PairsAbove::decide(const Gallery& slab, const ListedPair* pairs,
                        const unsigned long long* count) {
  const auto fetch_count = [&](const unsigned long long* from) {
    unsigned long long n = 0;
    check(cudaMemcpyAsync(&n, from, sizeof n, cudaMemcpyDeviceToHost, stream_), "copying a count");
    check(cudaStreamSynchronize(stream_), "waiting for the device");
    return static_cast<int64_t>(n);
  };
  const int64_t listed = fetch_count(count);
  if (listed == 0) return;
  if (found_.size() < listed) found_ = DeviceBuffer<FoundPair>(listed, stream_);
  found_count_.set_bytes(0);
  with_dtype(slab.rows.dtype, [&](auto type) {
    launch("scoring pairs", keep_pairs<type()>, blocks_for(kListBlocks, 1), kListThreads, 0,
           stream_, queries(), slab, exclusion_, pairs, count, threshold_, found_.data(),
           found_count_.data());
  });
  const auto kept = static_cast<size_t>(fetch_count(found_count_.data()));
  const size_t before = pairs_.size();
  pairs_.resize(before + kept);
  check(cudaMemcpyAsync(pairs_.data() + before, found_.data(), kept * sizeof(FoundPair),
                        cudaMemcpyDeviceToHost, stream_),
        "copying pairs");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

}  // namespace idsim::cuda

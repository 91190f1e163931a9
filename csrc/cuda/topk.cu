#include "cuda/topk.hpp"

#include <algorithm>
#include <limits>

#include "core/device_plan.hpp"
#include "core/slabs.hpp"
#include "cuda/block.cuh"
#include "cuda/dispatch.hpp"
#include "cuda/fetch.cuh"
#include "cuda/launch.cuh"
#include "cuda/listing.cuh"
#include "cuda/row_scan.cuh"
#include "cuda/sample.hpp"
#include "cuda/score.cuh"
#include "cuda/tile.cuh"
#include "cuda/tile_sm90.cuh"
#include "cuda/tiles.hpp"

namespace idsim::cuda {
namespace {

__device__ bool better(Metric metric, float a, float b) {
  return metric == Metric::l2 ? a < b : a > b;
}

__device__ void set_reach(const Queries::View& queries, const TopK::Filter& filter, int64_t query,
                          float reach) {
  filter.reach[query] = reach;
  filter.a[query] = query_terms(queries.metric, queries.bounds[query], reach).a;
}

__global__ void start(Queries::View queries, TopK::Filter filter, TopK::Lists lists,
                      float threshold) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i == 0) *filter.counts = {0, 0, 0};
  if (i >= queries.count) return;
  lists.sizes[i] = 0;
  filter.reach[i] = threshold;
}

// Queries that only fill the last tile, or hold NaN or Inf, get a = +inf, which no row reaches.
__global__ void set_terms(Queries::View queries, TopK::Filter filter) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= queries.padded) return;
  if (i < queries.count && !std::isnan(queries.norms[i])) {
    set_reach(queries, filter, i, filter.reach[i]);
  } else {
    filter.a[i] = std::numeric_limits<float>::infinity();
  }
}

__global__ void forget_candidates(TopK::Filter filter, int64_t queries) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < queries) filter.found[i] = 0;
}

// Keeps the best k of a list of `size` > k, in no order, and returns the worst kept score.
__device__ float keep_best(Metric metric, float* scores, int64_t* ids, int64_t size, int64_t k,
                           BlockScratch& s) {
  const auto key = [&](int64_t i) { return result_key(metric, scores[i], ids[i]); };
  const ResultKey last =
      size > k ? kth_key<kKeyDigits, true>(key, size, k, s) : ResultKey{~0U, ~uint64_t{0}};
  if (threadIdx.x == 0) s.worst = 0;
  __syncthreads();
  int64_t kept = 0;
  for (int64_t base = 0; base < size; base += kBlockThreads) {
    const int64_t i = base + threadIdx.x;
    const float score = i < size ? scores[i] : 0.0F;
    const int64_t id = i < size ? ids[i] : 0;
    const ResultKey mine = result_key(metric, score, id);
    const bool keep = i < size && mine <= last;
    int total = 0;
    const int at = block_position(keep, s, &total);
    if (keep) {
      scores[kept + at] = score;
      ids[kept + at] = id;
      atomicMax(&s.worst, mine.score);
    }
    kept += total;
    __syncthreads();
  }
  const uint32_t worst = s.worst;
  __syncthreads();
  return from_ascending_key(metric == Metric::l2 ? worst : ~worst);
}

struct RefineScratch {
  BlockScratch block;
  int size;
  float reach, a;
  unsigned rescored;
};

// One block per query: scores its candidates (or, where they overflowed, every row of the slab) and keeps the best.
template <DType kType>
__global__ __launch_bounds__(kBlockThreads) void refine(Queries::View queries, Gallery gallery,
                                                        TopK::Lists lists, TopK::Filter filter,
                                                        Exclusion exclusion) {
  auto& s = *reinterpret_cast<RefineScratch*>(ptx::shared_memory());
  const int64_t query = blockIdx.x;
  const unsigned found = filter.found[query];
  if (found == 0) return;  // the same for all threads
  const bool overflow = found > filter.capacity;
  const int64_t n = overflow ? gallery.count() : int64_t{found};
  const Candidate* candidates = filter.candidates + query * filter.capacity;
  float* scores = lists.scores + query * lists.stride;
  int64_t* ids = lists.ids + query * lists.stride;
  const Metric metric = queries.metric;
  if (threadIdx.x == 0) {
    s.size = lists.sizes[query];
    s.reach = filter.reach[query];
    s.a = filter.a[query];
    s.rescored = 0;
  }
  __syncthreads();

  const int64_t room = lists.stride - lists.k;
  const float b = queries.b[query], c = queries.c[query];
  for (int64_t base = 0; base < n; base += room) {
    const int64_t end = base + room < n ? base + room : n;
    const float a = s.a, reach = s.reach;
    for (int64_t i = base + threadIdx.x / kWarpSize; i < end; i += kBlockWarps) {
      const int64_t slot = overflow ? i : int64_t{candidates[i].slot};
      if (overflow) {
        if (std::isnan(gallery.coded.u[slot])) continue;
      } else {
        const RowTerms x = listed_terms(metric, queries.digits, gallery.coded, slot);
        const auto dot = sum_as<float>(candidates[i].dot, queries.integer_sums());
        if (!(dot >= row_limit({a, b, c}, x))) continue;
      }
      const int64_t row = gallery.row(slot);
      if (exclusion.drops(query, gallery, row) || !gallery.there(slot)) continue;
      const float score = warp_score<kType>(queries, gallery, query, slot);
      if (lane_index() != 0) continue;
      atomicAdd(&s.rescored, 1U);
      if (better(metric, reach, score)) continue;
      const int at = atomicAdd(&s.size, 1);
      scores[at] = score;
      ids[at] = gallery.first_id + row;
    }
    __syncthreads();
    const int64_t size = s.size;
    __syncthreads();  // all have read it before the next round adds to it
    if (size < lists.k) continue;
    const float worst = keep_best(metric, scores, ids, size, lists.k, s.block);
    if (threadIdx.x == 0) {
      s.size = static_cast<int>(lists.k);
      if (better(metric, worst, reach)) {
        set_reach(queries, filter, query, worst);
        s.reach = worst;
        s.a = filter.a[query];
      }
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  lists.sizes[query] = s.size;
  atomicAdd(&filter.counts->rescored, static_cast<unsigned long long>(s.rescored));
  if (!gallery.first_turn()) return;
  atomicAdd(&filter.counts->candidates, static_cast<unsigned long long>(n));
  if (overflow) atomicAdd(&filter.counts->overflows, 1ULL);
}

// One block per query: marks the rows that refine will score.
__global__ __launch_bounds__(kBlockThreads) void mark_candidates(Gallery gallery,
                                                                 TopK::Filter filter,
                                                                 Exclusion exclusion,
                                                                 RowMarks marks) {
  const int64_t query = blockIdx.x;
  const unsigned found = filter.found[query];
  const bool overflow = found > filter.capacity;
  const int64_t n = overflow ? gallery.count() : int64_t{found};
  const Candidate* candidates = filter.candidates + query * filter.capacity;
  for (int64_t i = threadIdx.x; i < n; i += kBlockThreads) {
    const int64_t slot = overflow ? i : int64_t{candidates[i].slot};
    if (overflow && std::isnan(gallery.coded.u[slot])) continue;
    if (!exclusion.drops(query, gallery, gallery.row(slot))) mark_row(marks, slot);
  }
}

// The threshold that a sample proves: the k-th best of what its rows certainly reach.
__global__ __launch_bounds__(kBlockThreads) void raise_by_sample(Queries::View queries,
                                                                 TopK::Filter filter,
                                                                 const float* keys, int64_t sampled,
                                                                 int64_t k, int64_t first_query) {
  auto& s = *reinterpret_cast<BlockScratch*>(ptx::shared_memory());
  const int64_t query = first_query + blockIdx.x;
  const float* mine = keys + int64_t{blockIdx.x} * sampled;
  const auto key = [&](int64_t i) { return ResultKey{~ascending_key(mine[i]), 0}; };
  const float kth = from_ascending_key(~kth_key<4, false>(key, sampled, k, s).score);
  if (threadIdx.x != 0 || !queries.bounds[query].coded) return;
  if (!(kth > -std::numeric_limits<float>::infinity())) return;
  const float reach = score_of_key(queries.metric, queries.bounds[query], kth);
  if (better(queries.metric, reach, filter.reach[query])) {
    set_reach(queries, filter, query, reach);
  }
}

// Lists that fit are sorted in shared memory.
constexpr int64_t kSharedSort = 2048;
constexpr size_t kSortBytes = kSharedSort * (sizeof(int64_t) + sizeof(float));

__global__ __launch_bounds__(kBlockThreads) void write_results(TopK::Lists lists, Metric metric,
                                                               float* scores, int64_t* ids) {
  const int64_t query = blockIdx.x;
  const int64_t n = lists.sizes[query], k = lists.k;
  float* from_scores = lists.scores + query * lists.stride;
  int64_t* from_ids = lists.ids + query * lists.stride;
  if (n <= kSharedSort) {
    auto* shared_ids = reinterpret_cast<int64_t*>(ptx::shared_memory());
    auto* shared_scores = reinterpret_cast<float*>(shared_ids + kSharedSort);
    for (int64_t i = threadIdx.x; i < n; i += kBlockThreads) {
      shared_scores[i] = from_scores[i];
      shared_ids[i] = from_ids[i];
    }
    from_scores = shared_scores;
    from_ids = shared_ids;
  }
  __syncthreads();
  block_sort(metric, from_scores, from_ids, n);
  const float worst = metric == Metric::l2 ? std::numeric_limits<float>::infinity()
                                           : -std::numeric_limits<float>::infinity();
  for (int64_t i = threadIdx.x; i < k; i += kBlockThreads) {
    scores[query * k + i] = i < n ? from_scores[i] : worst;
    ids[query * k + i] = i < n ? from_ids[i] : -1;
  }
}

}  // namespace

TopK::TopK(const MatrixView& queries, Metric metric, int64_t k, float threshold,
           const Exclusion& exclusion, NonFinite* found, cudaStream_t stream, int most_digits)
    : k_(k),
      exclusion_(exclusion),
      stream_(stream),
      most_digits_(most_digits),
      queries_(queries, metric, found, stream) {
  const int64_t q = count(), padded = queries_.view().padded;
  lists_.k = k;
  lists_.stride = result_room(k);
  filter_.capacity = candidate_capacity(k);
  scores_ = DeviceBuffer<float>(q * lists_.stride, stream);
  ids_ = DeviceBuffer<int64_t>(q * lists_.stride, stream);
  sizes_ = DeviceBuffer<int32_t>(q, stream);
  reach_ = DeviceBuffer<float>(padded, stream);
  a_ = DeviceBuffer<float>(padded, stream);
  candidates_ = DeviceBuffer<Candidate>(q * filter_.capacity, stream);
  found_ = DeviceBuffer<unsigned>(q, stream);
  counts_ = DeviceBuffer<Counts>(1, stream);
  lists_.scores = scores_.data();
  lists_.ids = ids_.data();
  lists_.sizes = sizes_.data();
  filter_.reach = reach_.data();
  filter_.a = a_.data();
  filter_.candidates = candidates_.data();
  filter_.found = found_.data();
  filter_.counts = counts_.data();
  launch("starting a search", start, blocks_for(q, kBlockThreads), kBlockThreads, 0, stream,
         queries_.view(), filter_, lists_, threshold);
}

void TopK::feed(const Gallery& gallery) {
  if (k_ == 0 || count() == 0 || gallery.count() == 0) return;
  use(gallery.coded.precision);
  int64_t sampled = 0;
  if (!seeded_) {
    sampled = device_sample(gallery.count(), k_).count;
    if (sampled > 0) seed(gallery);
    seeded_ = true;
  }
  // Candidates number their rows within a slab with 31 bits.
  const int64_t most = std::min(int64_t{1} << 30, most_slab_rows(gallery));
  const SlabPlan plan{gallery.count(),
                      sampled,
                      k_,
                      filter_.capacity,
                      kTileRows,
                      gallery.coded.precision == Precision::int8 ? kInt8Margins : kHalfMargins};
  for (int64_t begin = 0; begin < gallery.count();) {
    const int64_t end = std::min(plan.end(begin), begin + most);
    scan(slice(gallery, begin, end - begin));
    begin = end;
  }
}

void TopK::use(Precision precision) {
  const bool two = most_digits_ == 2 && precision == Precision::int8 &&
                   two_digits_fit(count(), code_bytes(precision, queries_.view().dim),
                                  device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  if (!queries_.use(precision, two ? 2 : 1)) return;
  launch("setting thresholds", set_terms, blocks_for(queries_.view().padded, kBlockThreads),
         kBlockThreads, 0, stream_, queries_.view(), filter_);
}

void TopK::seed(const Gallery& gallery) {
  const Sample sample(gallery, queries_.view().metric, k_, stream_);
  const int64_t sampled = sample.rule().count;
  int64_t tiles = sampled_tiles(count(), sampled, k_);
  const DeviceBuffer<float> keys = made_to_fit(&tiles, 1, [&](int64_t fewer) {
    return DeviceBuffer<float>(fewer * kTileQueries * sampled, stream_);
  });
  const int64_t chunk = tiles * kTileQueries;
  for (int64_t first = 0; first < count(); first += chunk) {
    const int64_t n = std::min(chunk, count() - first);
    sample.keys(queries_.view(), gallery, exclusion_, first, n, keys.data());
    launch("seeding thresholds", raise_by_sample, blocks_for(n, 1), kBlockThreads,
           sizeof(BlockScratch), stream_, queries_.view(), filter_, keys.data(), sampled, k_,
           first);
  }
}

void TopK::list(const Gallery& slab) {
  const Queries::View& queries = queries_.view();
  if (queries.precision == Precision::float32) {
    const auto epilogue = [&](int64_t first) {
      return ListDirect{direct_rows(slab, queries, first == 0), queries, filter_};
    };
    return launch_direct("scanning rows", slab, EveryRow{slab.count()}, queries, 0, count(),
                         epilogue, stream_);
  }
  const TileScan tiles = tile_scan(slab.coded.codes, slab.count(), queries, 0, queries.padded);
  if (queries.digits == 2) {
    const auto scan_digits = [&](const auto& epilogue) {
      launch_two_digits("scanning", tiles, count(), epilogue, stream_);
    };
    return queries.metric == Metric::l2
               ? scan_digits(ListCandidates<true, 2>{slab.coded, queries, filter_, slab.count()})
               : scan_digits(ListCandidates<false, 2>{slab.coded, queries, filter_, slab.count()});
  }
  const TilePlan plan = plan_tiles({count(), slab.count(), queries.pitch}, tile_device());
  const auto scan = [&](const auto& epilogue) {
    with_codes(queries.precision, [&](auto codes) {
      switch (plan.kernel) {
        case TileKernel::rows:
          return launch_row_scan<decltype(codes)>(tiles, count(), epilogue, stream_);
        case TileKernel::groups:
          return launch_groups<decltype(codes)>("scanning", tiles, plan, epilogue, stream_);
        case TileKernel::tiles:
          return launch_tiles<decltype(codes)>("scanning", tiles, epilogue, stream_);
      }
    });
  };
  if (queries.metric == Metric::l2) {
    scan(ListCandidates<true>{slab.coded, queries, filter_, slab.count()});
  } else {
    scan(ListCandidates<false>{slab.coded, queries, filter_, slab.count()});
  }
}

void TopK::scan(const Gallery& slab) {
  const Queries::View& queries = queries_.view();
  launch("clearing candidates", forget_candidates, blocks_for(count(), kBlockThreads),
         kBlockThreads, 0, stream_, filter_, count());
  list(slab);
  const auto mark = [&](const RowMarks& marks) {
    launch("marking candidates", mark_candidates, blocks_for(count(), 1), kBlockThreads, 0, stream_,
           slab, filter_, exclusion_, marks);
  };
  with_rows(slab, mark, [&](const Gallery& gallery) {
    with_dtype(gallery.rows.dtype, [&](auto type) {
      launch("rescoring", refine<type()>, blocks_for(count(), 1), kBlockThreads,
             sizeof(RefineScratch), stream_, queries, gallery, lists_, filter_, exclusion_);
    });
  });
}

void TopK::finish(float* scores, int64_t* ids) {
  if (k_ == 0 || count() == 0) return;
  launch("writing results", write_results, blocks_for(count(), 1), kBlockThreads, kSortBytes,
         stream_, lists_, metric(), scores, ids);
}

Counts TopK::counts() const {
  Counts out{};
  check(cudaMemcpyAsync(&out, counts_.data(), sizeof out, cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
  return out;
}

void TopK::fetch_reach(float* out) const {
  check(cudaMemcpyAsync(out, reach_.data(), static_cast<size_t>(count()) * sizeof(float),
                        cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

}  // namespace idsim::cuda

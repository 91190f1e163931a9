// The emulator's mbarriers, tensor copies, wgmma and clusters: a product as Hopper's tile kernels make it comes out right
// under every schedule, and each of the bugs that such kernels have is found when it is planted.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/half.hpp"
#include "core/widen.hpp"
#include "cuda/ptx/barrier.cuh"
#include "cuda/ptx/cluster.cuh"
#include "cuda/ptx/registers.cuh"
#include "cuda/ptx/shared.cuh"
#include "cuda/ptx/tensor_copy.cuh"
#include "cuda/ptx/wgmma.cuh"
#include "cuda/tensor_map.hpp"

namespace idsim::test {
namespace {

namespace ptx = cuda::ptx;
using emulator::Schedule;
constexpr Schedule kSchedules[] = {Schedule::in_turn, Schedule::first, Schedule::last};

enum class Bug {
  none,
  no_wait_for_a_stage,
  stage_released_early,
  sums_used_too_early,
  operand_too_far_on,
  lanes_differ,
  wrong_parity,
  too_many_bytes,
  too_few_bytes,
  no_initialisation,
  no_barrier_after_it,
  initialised_twice,
  one_arrival_too_many,
  misaligned,
  a_copy_too_many,
  over_the_barriers,
  no_commit_by_a_warp,
  // of clusters
  peer_expects_nothing,
  peer_not_asked,
  peer_not_there_yet,
  peer_gone,
  beyond_the_cluster
};

constexpr int kTile = 128;                   // rows of both operands
constexpr int kTileBytes = kTile * 128;      // of one block of k
constexpr int kStageBytes = 2 * kTileBytes;  // a, then b
constexpr int kStages = 2;
constexpr int kSharedBytes = kStages * kStageBytes + 1024;

struct Ring {
  char* stages;
  ptx::Barrier* full;   // the stage was filled
  ptx::Barrier* empty;  // all that read it have done so

  char* a(int step) const { return stages + step % kStages * kStageBytes; }
  char* b(int step) const { return a(step) + kTileBytes; }
};

// Every block of a cluster fetches a share of the rows of b, for all of them.
void fill_ring(const Ring& ring, const CUtensorMap* a, const CUtensorMap* b, int steps, int blocks,
               Bug bug) {
  const auto rank = static_cast<int>(ptx::cluster_rank());
  const int share = kTile / blocks;
  const int row0 = static_cast<int>(blockIdx.x) * kTile;
  const int copies = steps + (bug == Bug::a_copy_too_many ? 1 : 0);
  for (int step = 0; step < copies; ++step) {
    ptx::Barrier* full = ring.full + step % kStages;
    unsigned bytes = kStageBytes;
    if (bug == Bug::too_many_bytes) bytes += 16;
    if (bug == Bug::too_few_bytes) bytes -= 16;
    ptx::barrier_wait(ring.empty + step % kStages, static_cast<unsigned>(step / kStages + 1) % 2);
    if (bug != Bug::peer_expects_nothing || rank == 0) ptx::barrier_expect(full, bytes);
    char* to = ring.a(step) + (bug == Bug::misaligned ? 512 : 0);
    if (bug == Bug::over_the_barriers) to = ring.stages + kSharedBytes - kTileBytes;
    ptx::copy_box(to, a, 128 * step, row0, full);
    if (blocks == 1 && bug != Bug::beyond_the_cluster) {
      ptx::copy_box(ring.b(step), b, 128 * step, 0, full);
    } else {
      ptx::copy_box_to(ring.b(step) + rank * share * 128, b, 128 * step, rank * share, full, 3);
    }
  }
}

// 64 rows of a by 128 of b.
template <class T>
void multiply_ring(const Ring& ring, int group, int steps, int blocks, T* out, Bug bug) {
  const auto thread = static_cast<unsigned>(threadIdx.x % 128);
  const auto release = [&](int step) {
    if (thread < static_cast<unsigned>(bug == Bug::peer_not_asked ? 1 : blocks)) {
      const unsigned to = bug == Bug::peer_not_asked ? ptx::cluster_rank() : thread;
      ptx::barrier_arrive_at(ring.empty + step % kStages, to);
      if (bug == Bug::one_arrival_too_many) ptx::barrier_arrive(ring.empty + step % kStages);
    }
  };
  T d[64];
  for (T& x : d) x = T{99};
  for (int step = 0; step < steps; ++step) {
    unsigned parity = static_cast<unsigned>(step / kStages) % 2;
    if (bug == Bug::wrong_parity) parity ^= 1;
    if (bug != Bug::no_wait_for_a_stage) ptx::barrier_wait(ring.full + step % kStages, parity);
    ptx::hold(d);
    ptx::wgmma_begin();
    uint64_t a = ptx::operand(ring.a(step) + group * kTileBytes / 2);
    const uint64_t b = ptx::operand(ring.b(step));
    if (bug == Bug::operand_too_far_on) a += ptx::kNextK;
    if (bug == Bug::lanes_differ && threadIdx.x % 32 == 5) a += ptx::kNextK;
    for (int k = 0; k < 4; ++k) {
      const auto on = static_cast<uint64_t>(k) * ptx::kNextK;
      ptx::wgmma(d, a + on, b + on, step > 0 || k > 0);
    }
    if (bug == Bug::no_commit_by_a_warp && thread / 32 == 3) return;
    ptx::wgmma_commit();
    if (bug == Bug::stage_released_early) release(step);
    ptx::wgmma_wait<1>();
    if (step > 0 && bug != Bug::stage_released_early) release(step - 1);
  }
  if (bug != Bug::sums_used_too_early) ptx::wgmma_wait<0>();
  ptx::hold(d);
  const int lane = static_cast<int>(thread) % 32, warp = static_cast<int>(thread) / 32;
  for (int i = 0; i < 64; ++i) {
    const int row = 64 * group + 16 * warp + lane / 4 + 8 * (i / 2 % 2);
    const int column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
    out[(static_cast<int>(blockIdx.x) * kTile + row) * kTile + column] = d[i];
  }
}

// The products of rows of a, kTile for every block, and the rows of b.
template <class T>
void product(const CUtensorMap a, const CUtensorMap b, int steps, int blocks, T* out, Bug bug) {
  char* shared = ptx::shared_memory();
  auto* barriers = reinterpret_cast<ptx::Barrier*>(shared + kStages * kStageBytes);
  const Ring ring{shared, barriers, barriers + kStages};
  const auto readers = static_cast<unsigned>(bug == Bug::peer_not_asked ? 2 : 2 * blocks);
  if (threadIdx.x == 0 && bug != Bug::no_initialisation) {
    for (int i = 0; i < kStages; ++i) {
      ptx::barrier_init(ring.full + i, 1);
      ptx::barrier_init(ring.empty + i, readers);
      if (bug == Bug::initialised_twice) ptx::barrier_init(ring.empty + i, readers);
    }
    ptx::barrier_init_fence();
    ptx::prefetch_map(&a);
  }
  if (bug == Bug::peer_not_there_yet) __syncthreads();
  if (bug != Bug::no_barrier_after_it && bug != Bug::peer_not_there_yet) ptx::cluster_sync();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == 0) {
    ptx::give_registers<40>();
    if (threadIdx.x == 0) fill_ring(ring, &a, &b, steps, blocks, bug);
  } else {
    ptx::take_registers<232>();
    multiply_ring<T>(ring, group - 1, steps, blocks, out, bug);
  }
  if (bug != Bug::peer_gone) ptx::cluster_sync();
}

template <class T>
struct Codes;
template <>
struct Codes<int32_t> {
  static void fill(Random& random, Buffer<uint8_t>& codes) {
    for (int64_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random.below(256));
  }
  // Of rows of `bytes` bytes; a is signed.
  static int32_t dot(const uint8_t* a, const uint8_t* b, int64_t bytes) {
    int32_t sum = 0;
    for (int64_t k = 0; k < bytes; ++k) sum += static_cast<int8_t>(a[k]) * b[k];
    return sum;
  }
};
template <>
struct Codes<float> {
  // Integers, so that sums are exact in whatever order.
  static void fill(Random& random, Buffer<uint8_t>& codes) {
    for (int64_t i = 0; i < codes.size(); i += 2) {
      const uint16_t code = half_code(static_cast<float>(random.below(17) - 8));
      std::memcpy(&codes[i], &code, 2);
    }
  }
  static float dot(const uint8_t* a, const uint8_t* b, int64_t bytes) {
    float sum = 0.0F;
    for (int64_t k = 0; k < bytes; k += 2) {
      uint16_t x = 0, y = 0;
      std::memcpy(&x, a + k, 2);
      std::memcpy(&y, b + k, 2);
      sum += widen_f16(x) * widen_f16(y);
    }
    return sum;
  }
};

// Rows and bytes that do not fill their boxes, so that zeros have to come in their place.
template <class T>
class Problem {
 public:
  Problem(int blocks, int64_t rows_b, int64_t pitch)
      : blocks_(blocks),
        steps_(static_cast<int>((pitch + 127) / 128)),
        rows_a_(blocks * kTile - 28),
        rows_b_(rows_b),
        pitch_(pitch),
        a_(rows_a_ * pitch),
        b_(rows_b * pitch),
        out_(int64_t{blocks} * kTile * kTile) {
    Random random(3);
    Codes<T>::fill(random, a_);
    Codes<T>::fill(random, b_);
  }

  CUtensorMap map_a() const { return cuda::map_of_codes(a_.data(), rows_a_, pitch_, kTile); }
  CUtensorMap map_b() const {
    return cuda::map_of_codes(b_.data(), rows_b_, pitch_, kTile / blocks_);
  }

  // Whether the launch succeeds.
  bool run(Bug bug, const CUtensorMap& a) {
    std::fill_n(out_.data(), out_.size(), T{-7});
    emulator::last_failure.clear();
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {static_cast<unsigned>(blocks_), 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(blocks_));
    config.blockDim = dim3(384);
    config.dynamicSmemBytes = kSharedBytes;
    config.attrs = &attribute;
    config.numAttrs = 1;
    const bool done = cudaLaunchKernelEx(&config, product<T>, a, map_b(), steps_, blocks_,
                                         out_.data(), bug) == cudaSuccess;
    cudaGetLastError();
    return done;
  }
  bool run(Bug bug) { return run(bug, map_a()); }

  bool is_right() const {
    for (int64_t i = 0; i < blocks_ * kTile; ++i) {
      for (int64_t j = 0; j < kTile; ++j) {
        const bool is = i < rows_a_ && j < rows_b_;
        const T wanted =
            is ? Codes<T>::dot(a_.data() + i * pitch_, b_.data() + j * pitch_, pitch_) : T{0};
        if (out_[i * kTile + j] != wanted) return false;
      }
    }
    return true;
  }

  const void* a() const { return a_.data(); }
  int64_t rows_a() const { return rows_a_; }

 private:
  int blocks_, steps_;
  int64_t rows_a_, rows_b_, pitch_;
  Buffer<uint8_t> a_, b_;
  Buffer<T> out_;
};

template <class T>
void check_products() {
  for (const Schedule schedule : kSchedules) {
    emulator::schedule = schedule;
    for (const int blocks : {1, 2}) {
      for (const int64_t pitch : {128, 80, 560}) {
        Problem<T> problem(blocks, pitch == 128 ? 128 : 77, pitch);
        expect(problem.run(Bug::none) && problem.is_right(), "%d blocks, pitch %d, schedule %d",
               blocks, static_cast<int>(pitch), static_cast<int>(schedule));
      }
    }
  }
}

struct Planted {
  Bug bug;
  int blocks;
  int found;  // schedules, at least
  const char*
      said;  // part of the reason that the launch fails with; null where the result is wrong instead
};
constexpr const char* kInVain = "threads wait in vain";
constexpr Planted kPlanted[] = {
    {Bug::no_wait_for_a_stage, 1, 2, kInVain},
    {Bug::stage_released_early, 1, 2, nullptr},
    {Bug::sums_used_too_early, 1, 3, nullptr},
    {Bug::operand_too_far_on, 1, 3, nullptr},
    {Bug::lanes_differ, 1, 3, "different descriptors"},
    {Bug::wrong_parity, 1, 3, kInVain},
    {Bug::too_many_bytes, 1, 3, "(0 arrivals and 16 bytes are to come)"},
    {Bug::too_few_bytes, 1, 3, "got 16 bytes more than it expects"},
    {Bug::no_initialisation, 1, 3, "was not initialised"},
    {Bug::no_barrier_after_it, 1, 1, "was not initialised"},
    {Bug::initialised_twice, 1, 3, "is initialised twice"},
    {Bug::one_arrival_too_many, 1, 2, kInVain},
    {Bug::misaligned, 1, 3, "not a multiple of 1024"},
    {Bug::a_copy_too_many, 1, 2, "was not waited for"},
    {Bug::over_the_barriers, 1, 3, "overwrites the barrier"},
    {Bug::no_commit_by_a_warp, 1, 3, "which has not committed the products"},
    {Bug::beyond_the_cluster, 1, 3, "to blocks 0x3, beyond the cluster"},
    {Bug::peer_expects_nothing, 2, 3, "(1 arrivals and -32768 bytes are to come)"},
    {Bug::peer_not_asked, 2, 1, "8192 bytes more than it expects"},
    {Bug::peer_not_there_yet, 2, 2, "was not initialised"},
    {Bug::peer_gone, 2, 2, "is signalled after its block has ended"},
};

void check_planted(const Planted& planted) {
  Problem<int32_t> problem(planted.blocks, 77, 560);
  int found = 0, said = 0;
  for (const Schedule schedule : kSchedules) {
    emulator::schedule = schedule;
    const bool done = problem.run(planted.bug);
    const bool right = done && problem.is_right();
    found += !right;
    if (planted.said == nullptr) {
      said += done && !right;
    } else {
      said += emulator::last_failure.find(planted.said) != std::string::npos;
    }
  }
  expect(found >= planted.found && said > 0, "bug %d: found %d times, %d as expected",
         static_cast<int>(planted.bug), found, said);
}

// A box that was not swizzled is no operand.
void check_swizzle() {
  Problem<int32_t> problem(1, 128, 128);
  for (const bool planted : {false, true}) {
    const cuuint64_t sizes[2] = {128, static_cast<cuuint64_t>(problem.rows_a())};
    const cuuint64_t strides[1] = {128};
    const cuuint32_t box[2] = {128, kTile}, steps[2] = {1, 1};
    CUtensorMap map;
    const CUresult made = cuTensorMapEncodeTiled(
        &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(problem.a()), sizes, strides, box,
        steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
        planted ? CU_TENSOR_MAP_SWIZZLE_NONE : CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    expect(made == CUDA_SUCCESS, "a map without the swizzle");
    expect(problem.run(Bug::none, map) && problem.is_right() != planted, "swizzle, planted %d",
           planted);
  }
  expect(!problem.run(Bug::none, CUtensorMap{}), "a map of nothing ran");
}

void note_rank(unsigned* out) { out[blockIdx.x] = ptx::cluster_rank(); }

// Clusters cover the grid.
void check_clusters() {
  unsigned ranks[6] = {};
  for (const unsigned blocks : {1U, 2U, 3U, 4U, 9U}) {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {blocks, 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(6);
    config.blockDim = dim3(32);
    config.attrs = &attribute;
    config.numAttrs = 1;
    const cudaError_t error = cudaLaunchKernelEx(&config, note_rank, ranks);
    expect((error == cudaSuccess) == (blocks <= 3), "6 blocks in clusters of %u", blocks);
    if (error != cudaSuccess) {
      expect(error == cudaErrorInvalidValue, "error of clusters of %u", blocks);
      continue;
    }
    for (unsigned i = 0; i < 6; ++i) expect(ranks[i] == i % blocks, "rank of block %u", i);
  }
  cudaGetLastError();
}

}  // namespace
}  // namespace idsim::test

int main() {
  idsim::test::check_products<int32_t>();
  idsim::test::check_products<float>();
  for (const auto& planted : idsim::test::kPlanted) idsim::test::check_planted(planted);
  idsim::test::check_swizzle();
  idsim::test::check_clusters();
  return idsim::test::finish("emulator_hopper_test");
}

// The tile kernel of warp groups on the emulator: every product of every pair, by blocks of each size, under each order
// of threads; and with thresholds, just the pairs that reach them.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"
#include "core/error.hpp"
#include "core/half.hpp"
#include "core/tile_plan.hpp"
#include "cuda/codes.cuh"
#include "cuda/tile_sm90.cuh"
#include "cuda/tiles.hpp"

namespace idsim::test {
namespace {

using cuda::GroupScan;
using cuda::kTileQueries;
using emulator::Schedule;

struct Listed {
  int64_t query, row;
  float dot;
};

// Lists pairs whose sums reach a threshold that is the same for all.
struct ListAll {
  float limit;
  Listed* pairs;
  unsigned long long* count;

  QueryTerms query_terms(int64_t) const { return {limit, std::numeric_limits<float>::min(), 0.0F}; }
  RowTerms row_terms(int64_t) const { return {1.0F, std::numeric_limits<float>::min(), 0.0F}; }
  template <class Sum>
  void keep(int64_t query, int64_t row, Sum dot) const {
    pairs[atomicAdd(count, 1ULL)] = {query, row, static_cast<float>(dot)};
  }
};

struct Case {
  int block_queries;
  int64_t queries, rows, d;
  int64_t blocks;  // of the grid; fewer than units, so that blocks work through several
  int64_t splits;
  int stages;
};

// Codes of queries and rows, with what their products are.
template <class Codes>
struct Data {
  static constexpr bool kHalf = std::is_same_v<Codes, cuda::HalfCodes>;
  int64_t pitch;
  Buffer<uint8_t> queries, rows;
  Buffer<int32_t> starts;
  std::vector<float> dots;

  Data(const Case& c, int64_t padded, uint64_t seed)
      : pitch(padded_dim(c.d) * (kHalf ? 2 : 1)),
        queries(padded * pitch),
        rows(c.rows * pitch),
        starts(padded),
        dots(static_cast<size_t>(c.queries * c.rows)) {
    Random random(seed);
    const int64_t d_pad = padded_dim(c.d);
    std::vector<int> q(static_cast<size_t>(c.queries * d_pad)),
        x(static_cast<size_t>(c.rows * d_pad));
    for (int& value : q) value = random.below(255) - 127;
    for (int& value : x) value = random.below(255) - 127;
    for (int64_t i = 0; i < c.queries; ++i) {
      int sum = 0;
      for (int64_t j = 0; j < d_pad; ++j) {
        const int value = q[static_cast<size_t>(i * d_pad + j)];
        sum += value;
        put(queries, i, j, value, 0);
      }
      starts[i] = kHalf ? 0 : -128 * sum;
    }
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t j = 0; j < d_pad; ++j)
        put(rows, i, j, x[static_cast<size_t>(i * d_pad + j)], 128);
    }
    for (int64_t i = 0; i < c.queries; ++i) {
      for (int64_t k = 0; k < c.rows; ++k) {
        int sum = 0;
        for (int64_t j = 0; j < d_pad; ++j) {
          sum += q[static_cast<size_t>(i * d_pad + j)] * x[static_cast<size_t>(k * d_pad + j)];
        }
        dots[static_cast<size_t>(i * c.rows + k)] = static_cast<float>(kHalf ? 0 : sum);
        if (kHalf) dots[static_cast<size_t>(i * c.rows + k)] = static_cast<float>(sum) / 4.0F;
      }
    }
  }

  // float16: halves of whole numbers, whose sums are exact as long as they stay below 2^22.
  void put(Buffer<uint8_t>& codes, int64_t i, int64_t j, int value, int offset) const {
    if (!kHalf) {
      codes[i * pitch + j] = static_cast<uint8_t>(value + offset);
      return;
    }
    const uint16_t bits = half_code(static_cast<float>(value) / 2.0F);
    std::memcpy(codes.data() + i * pitch + 2 * j, &bits, 2);
  }
};

template <class Codes, int kBlockQueries>
void check_products(const Case& c, float share) {
  const int64_t padded = (c.queries + kTileQueries - 1) / kTileQueries * kTileQueries;
  const Data<Codes> data(c, padded, static_cast<uint64_t>(c.d + c.queries));
  using Shape = cuda::GroupsShape<Codes, kBlockQueries>;
  std::vector<float> sorted = data.dots;
  std::sort(sorted.begin(), sorted.end());
  const auto at = static_cast<size_t>((1.0F - share) * static_cast<float>(sorted.size() - 1));
  const float limit = share == 1.0F ? -0x1p29F : sorted[at];
  const GroupScan scan{c.rows,
                       c.queries,
                       data.starts.data(),
                       static_cast<int>(k_boxes(data.pitch)),
                       c.stages,
                       (c.queries + 255) / 256 * Shape::kCluster,
                       c.splits,
                       (c.rows + cuda::kTileRows - 1) / cuda::kTileRows};
  const int64_t shared =
      kBarrierBytes + query_bytes(kBlockQueries, data.pitch) + int64_t{c.stages} * kStageBox;
  std::vector<Listed> listed(data.dots.size() + 1);
  unsigned long long count = 0;
  const ListAll lister{limit, listed.data(), &count};
  const auto kernel = cuda::scan_groups<Codes, kBlockQueries, ListAll>;
  cuda::launch_clusters(
      "testing", kernel, cuda::blocks_for(c.blocks, 1), Shape::kCluster, cuda::kGroupsThreads,
      static_cast<size_t>(shared), nullptr,
      cuda::map_of_codes(data.queries.data(), padded, data.pitch, Shape::kQueryBox),
      cuda::map_of_codes(data.rows.data(), c.rows, data.pitch, Shape::kRowBox), scan, lister);
  std::map<std::pair<int64_t, int64_t>, float> got;
  for (unsigned long long i = 0; i < count && i < data.dots.size(); ++i) {
    got[{listed[i].query, listed[i].row}] = listed[i].dot;
  }
  size_t wanted = 0, wrong = 0;
  for (int64_t q = 0; q < c.queries; ++q) {
    for (int64_t x = 0; x < c.rows; ++x) {
      const float dot = data.dots[static_cast<size_t>(q * c.rows + x)];
      if (dot < limit) continue;
      ++wanted;
      const auto found = got.find({q, x});
      wrong += found == got.end() || found->second != dot ? 1 : 0;
    }
  }
  expect(wrong == 0 && count == wanted,
         "%s, blocks of %d, %lld x %lld, d = %lld, %lld shares: %llu pairs, not %zu, %zu wrong",
         Data<Codes>::kHalf ? "float16" : "int8", kBlockQueries, static_cast<long long>(c.queries),
         static_cast<long long>(c.rows), static_cast<long long>(c.d),
         static_cast<long long>(c.splits), count, wanted, wrong);
}

template <class Codes>
void check(const Case& c) {
  for (const Schedule schedule : {Schedule::in_turn, Schedule::first, Schedule::last}) {
    emulator::schedule = schedule;
    for (const float share : {1.0F, 0.02F}) {
      if (c.block_queries == 256) check_products<Codes, 256>(c, share);
      if (c.block_queries == 128) check_products<Codes, 128>(c, share);
      if (c.block_queries == 64) check_products<Codes, 64>(c, share);
    }
  }
}

// What asking for tiles says on a device of a capability; empty: it is granted.
std::string refusal(const char* asked, const char* capability) {
  setenv("IDSIM_CUDA_TILES", asked, 1);
  setenv("IDSIM_EMULATED_CAPABILITY", capability, 1);
  std::string said;
  try {
    const bool groups = cuda::tile_tier(0) == cuda::TileTier::wgmma;
    expect(groups == (std::string_view(asked) == "wgmma"), "%s are other tiles", asked);
  } catch (const CudaError& error) {
    said = error.what();
  }
  unsetenv("IDSIM_CUDA_TILES");
  return said;
}

void check_choice() {
  expect(
      refusal("", "90").empty() && refusal("mma", "80").empty() && refusal("wgmma", "90").empty(),
      "tiles that a device has are refused");
  expect(refusal("wgmma", "80").find("needs compute capability 9.0; device 0 has 8.0") !=
             std::string::npos,
         "an older device has products of warp groups");
  expect(!refusal("wgmma", "100").empty(), "a newer device has products of warp groups");
  expect(refusal("fast", "90").find("is \"fast\": it can be mma or wgmma") != std::string::npos,
         "unknown tiles");
}

}  // namespace
}  // namespace idsim::test

int main() {
  using namespace idsim;
  using namespace idsim::test;
  check_choice();
  setenv("IDSIM_EMULATED_CAPABILITY", "90", 1);
  // Queries and rows that do not fill their blocks, d that does not fill 128 bytes, several units for a block.
  check<cuda::Int8Codes>({256, 130, 300, 64, 2, 3, 4});
  check<cuda::Int8Codes>({256, 300, 129, 200, 1, 1, 5});
  check<cuda::Int8Codes>({128, 256, 400, 130, 2, 2, 4});
  check<cuda::Int8Codes>({64, 200, 650, 64, 4, 2, 4});
  // A ring so short that a stage is filled again at once.
  check<cuda::Int8Codes>({256, 130, 260, 400, 1, 1, 2});
  check<cuda::Int8Codes>({64, 130, 260, 400, 4, 1, 2});
  check<cuda::HalfCodes>({256, 140, 257, 31, 1, 1, 4});
  check<cuda::HalfCodes>({128, 140, 257, 100, 2, 1, 6});
  check<cuda::HalfCodes>({64, 300, 400, 60, 4, 1, 4});
  return finish("groups_test");
}

// AVX-512 VNNI: tiles of 12 gallery rows by 32 queries, 24 accumulators in registers.
//
// vpdpbusd multiplies unsigned by signed bytes, so the rows are taken as they are stored (c + 128) and the
// accumulators start at -128 * (sum of the query's codes), which the packed panel carries:
//   int32  start[32]
//   int8   codes[d_pad / 4][32][4]
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "cpu/avx512.hpp"
#include "cpu/hits_avx512.hpp"

namespace idsim::cpu {

int64_t vnni_panel_bytes(int d_pad) { return int64_t{kPanel} * (4 + int64_t{d_pad}); }

void vnni_pack_panel(const int8_t* codes, int n_queries, int d_pad, void* panel) {
  int32_t start[kPanel] = {};
  auto* packed = static_cast<char*>(panel) + sizeof(start);
  if (n_queries < kPanel)
    std::memset(packed, 0, static_cast<size_t>(kPanel) * static_cast<size_t>(d_pad));
  for (int q = 0; q < n_queries; ++q) {
    const int8_t* code = codes + int64_t{q} * d_pad;
    int32_t sum = 0;
    for (int i = 0; i < d_pad; ++i) sum += code[i];
    start[q] = -128 * sum;
    for (int i = 0; i < d_pad; i += 4)
      std::memcpy(packed + int64_t{i} * kPanel + q * 4, code + i, 4);
  }
  std::memcpy(panel, start, sizeof(start));
}

}  // namespace idsim::cpu

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace idsim::cpu {
namespace {

constexpr int kTileRows = 12;
constexpr int kLine = 64;

// Through the intrinsic the compiler splits the tile.
ALWAYS_INLINE void add_products(__m512i& sum, __m512i unsigned_bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
}

// R rows. Every third has a pointer, the two behind it are reached with the stride as index register.
template <int R>
struct RowPointers {
  const uint8_t* at[(R + 2) / 3];
  int64_t stride;

  ALWAYS_INLINE RowPointers(const uint8_t* rows, int64_t row_stride) : stride(row_stride) {
    for (int i = 0; i < (R + 2) / 3; ++i) at[i] = rows + 3 * i * row_stride;
  }

  // Keeps the compiler from computing, and spilling, the addresses of a whole line beforehand.
  ALWAYS_INLINE void forget() {
    for (const uint8_t*& p : at) asm("" : "+r"(p));
    asm("" : "+r"(stride));
  }

  ALWAYS_INLINE __m512i broadcast(int row, int offset) const {
    int32_t bytes;
    __builtin_memcpy(&bytes, at[row / 3] + (row % 3) * stride + offset, 4);
    return _mm512_set1_epi32(bytes);
  }

  ALWAYS_INLINE void advance(int bytes) {
    for (const uint8_t*& p : at) p += bytes;
  }
};

template <int R>
ALWAYS_INLINE void products(const uint8_t* first_row, int d_pad, const char* panel,
                            Prefetch& prefetch, Sums<R>& sums) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    sums[r][0] = _mm512_loadu_si512(panel);
    sums[r][1] = _mm512_loadu_si512(panel + 64);
  }
  const char* codes = panel + kPanel * sizeof(int32_t);
  RowPointers<R> rows(first_row, d_pad);
  for (int left = d_pad; left > 0; left -= kLine) {
    prefetch.lines(R);
#pragma GCC unroll 16
    for (int i = 0; i < kLine; i += 4) {
      rows.forget();
      const __m512i low = _mm512_loadu_si512(codes + i * kPanel);
      const __m512i high = _mm512_loadu_si512(codes + i * kPanel + 64);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const __m512i row = rows.broadcast(r, i);
        add_products(sums[r][0], row, low);
        add_products(sums[r][1], row, high);
      }
    }
    rows.advance(kLine);
    codes += kLine * kPanel;
  }
}

template <int R, class Collector>
__attribute__((noinline)) int tiles(const TileArgs& args, int first, Prefetch& prefetch,
                                    Collector& collector) {
  const auto* rows = static_cast<const uint8_t*>(args.rows);
  const auto* panel = static_cast<const char*>(args.panel);
  for (; first + R <= args.n_rows; first += R) {
    Sums<R> sums;
    products<R>(rows + int64_t{first} * args.d_pad, args.d_pad, panel, prefetch, sums);
    collector.template take<R>(sums, first);
  }
  return first;
}

template <class Collector>
void all_tiles(const TileArgs& args, Collector& collector) {
  Prefetch prefetch{args.prefetch};
  int done = tiles<kTileRows>(args, 0, prefetch, collector);
  done = tiles<8>(args, done, prefetch, collector);
  done = tiles<4>(args, done, prefetch, collector);
  tiles<1>(args, done, prefetch, collector);
}

}  // namespace

int vnni_tile_hits(const TileArgs& args, Hit* hits) {
  if (args.w != nullptr) {
    HitCollector<true> collector(args, hits);
    all_tiles(args, collector);
    return collector.count();
  }
  HitCollector<false> collector(args, hits);
  all_tiles(args, collector);
  return collector.count();
}

void vnni_tile_dots(const TileArgs& args, int32_t* dots) {
  DotStore collector{dots};
  all_tiles(args, collector);
}

int32_t vnni_dot_i8(const uint8_t* row, const int8_t* query, int d_pad) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i dot = _mm512_setzero_si512();
  __m512i sum = dot;  // of the query's codes
  for (int i = 0; i < d_pad; i += kLine) {
    const __m512i q = _mm512_loadu_si512(query + i);
    dot = _mm512_dpbusd_epi32(dot, _mm512_loadu_si512(row + i), q);
    sum = _mm512_dpbusd_epi32(sum, ones, q);
  }
  return _mm512_reduce_add_epi32(_mm512_sub_epi32(dot, _mm512_slli_epi32(sum, 7)));
}

}  // namespace idsim::cpu

#pragma GCC pop_options

namespace idsim::cpu {

namespace {
int64_t nothing_staged(int, int) { return 0; }
}  // namespace

const Kernels& vnni_kernels() {
  static const Kernels table = [] {
    Kernels k = avx512_kernels();
    k.name = "vnni";
    k.dot_i8 = vnni_dot_i8;
    k.panel_bytes = vnni_panel_bytes;
    k.pack_panel = vnni_pack_panel;
    k.staged_bytes = nothing_staged;
    k.stage_rows = nullptr;
    k.tile_hits = vnni_tile_hits;
    k.tile_dots = vnni_tile_dots;
    k.row_scan_hits = vnni_row_scan_hits;
    k.few_queries = 16;  // Zen 4, 1M x 512, 16 queries: 24 ms against a panel's 41 ms
    k.nibble_row = vnni_nibble_row;
    k.nibble_scan = vnni_nibble_scan;
    return k;
  }();
  return table;
}

}  // namespace idsim::cpu

// AMX: tiles of 32 gallery rows by 32 queries, 2 x 2 accumulators in tile registers.
//
// The panel is that of the VNNI table (tile_vnni.cpp): 64 codes of 16 queries are one operand, 64 codes of
// 16 rows the other, taken as they are stored or, faster, staged line by line of a strip of 32 rows:
//   uint8  codes[d_pad / 64][32][64]
// Tile instructions start in program order, so a store of finished dots would hold up the products behind
// it: the stores of a strip are spread over the first products of the next. The vector units test the dots
// of one strip while the tile unit multiplies the next.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "cpu/avx512.hpp"
#include "cpu/hits_avx512.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")

namespace idsim::cpu {
namespace {

constexpr int kStripRows = 32;
constexpr int kTileRows = 16;
constexpr int kLine = 64;
constexpr int kTestRows = 4;  // tested at a time

// As ldtilecfg reads it: palette 1, eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kConfig{};

// Tile registers are the thread's: held for one call.
class TileState {
 public:
  TileState() { _tile_loadconfig(&kConfig); }
  ~TileState() { _tile_release(); }
  TileState(const TileState&) = delete;
  TileState& operator=(const TileState&) = delete;
};

struct alignas(64) StripDots {
  int32_t at[kStripRows][kPanel];
};

// Hands finished strips to a collector, some rows at a time.
template <class Collector>
class Drain {
 public:
  Drain(const void* panel, Collector& collector)
      : low_(_mm512_loadu_si512(panel)),
        high_(_mm512_loadu_si512(static_cast<const char*>(panel) + kLine)),
        collector_(collector) {}

  void open(const StripDots* dots, int first) {
    dots_ = dots;
    first_ = first;
    row_ = 0;
  }

  ALWAYS_INLINE void some(int times) {
    for (; times > 0 && row_ < kStripRows; --times, row_ += kTestRows) {
      Sums<kTestRows> sums;
#pragma GCC unroll 4
      for (int r = 0; r < kTestRows; ++r) {
        const int32_t* dots = dots_->at[row_ + r];
        sums[r][0] = _mm512_add_epi32(low_, _mm512_load_si512(dots));
        sums[r][1] = _mm512_add_epi32(high_, _mm512_load_si512(dots + 16));
      }
      collector_.template take<kTestRows>(sums, first_ + row_);
    }
  }

 private:
  __m512i low_, high_;  // where the dots of the panel start
  Collector& collector_;
  const StripDots* dots_ = nullptr;
  int first_ = 0;
  int row_ = kStripRows;
};

// Where a strip's operands lie: 16 rows of 64 codes, the 16 rows below, the next 64 codes.
struct Strides {
  int64_t row, half, line;
};

ALWAYS_INLINE void load_operands(const uint8_t* rows, const Strides& by, const char* queries) {
  _tile_stream_loadd(4, rows, by.row);
  _tile_stream_loadd(5, rows + by.half, by.row);
  _tile_loadd(6, queries, 2 * kLine);
  _tile_loadd(7, queries + kLine, 2 * kLine);
}

ALWAYS_INLINE void add_products() {
  _tile_dpbusd(0, 4, 6);
  _tile_dpbusd(2, 5, 6);
  _tile_dpbusd(1, 4, 7);
  _tile_dpbusd(3, 5, 7);
}

// The first products of a strip, as the dots of the strip before leave.
ALWAYS_INLINE void store_and_start(StripDots& before) {
  constexpr int64_t row = sizeof(before.at[0]);
  _tile_stored(0, before.at[0], row);
  _tile_zero(0);
  _tile_dpbusd(0, 4, 6);
  _tile_stored(2, before.at[kTileRows], row);
  _tile_zero(2);
  _tile_dpbusd(2, 5, 6);
  _tile_stored(1, before.at[0] + 16, row);
  _tile_zero(1);
  _tile_dpbusd(1, 4, 7);
  _tile_stored(3, before.at[kTileRows] + 16, row);
  _tile_zero(3);
  _tile_dpbusd(3, 5, 7);
}

ALWAYS_INLINE void store_last(StripDots& dots) {
  constexpr int64_t row = sizeof(dots.at[0]);
  _tile_stored(0, dots.at[0], row);
  _tile_stored(1, dots.at[0] + 16, row);
  _tile_stored(2, dots.at[kTileRows], row);
  _tile_stored(3, dots.at[kTileRows] + 16, row);
}

// Whole strips; returns the rows done.
template <class Collector>
__attribute__((noinline)) int strips(const TileArgs& args, Collector& collector) {
  const int d_pad = args.d_pad;
  const int done = args.n_rows / kStripRows * kStripRows;
  if (done == 0) return 0;
  const Strides by = args.staged ? Strides{kLine, kTileRows * kLine, kStripRows * kLine}
                                 : Strides{d_pad, int64_t{kTileRows} * d_pad, kLine};
  const int tests = (kStripRows / kTestRows * kLine + d_pad - 1) / d_pad;  // per line
  Prefetch prefetch{args.prefetch};
  const int fetched = kStripRows / args.prefetch_parts;  // per line
  StripDots dots[2];
  Drain drain(args.panel, collector);
  const TileState state;
  for (int first = 0; first < done; first += kStripRows) {
    const uint8_t* rows = static_cast<const uint8_t*>(args.rows) + int64_t{first} * d_pad;
    const char* queries = static_cast<const char*>(args.panel) + kPanel * sizeof(int32_t);
    StripDots& before = dots[first / kStripRows % 2];
    load_operands(rows, by, queries);
    store_and_start(before);
    prefetch.lines(fetched);
    drain.some(tests);
    if (first > 0) drain.open(&before, first - kStripRows);
    for (int left = d_pad - kLine; left > 0; left -= kLine) {
      rows += by.line;
      queries += kLine * kPanel;
      load_operands(rows, by, queries);
      add_products();
      prefetch.lines(fetched);
      drain.some(tests);
    }
  }
  drain.some(kStripRows / kTestRows);
  StripDots& last = dots[done / kStripRows % 2];
  store_last(last);
  drain.open(&last, done - kStripRows);
  drain.some(kStripRows / kTestRows);
  return done;
}

// The rows that the strips leave over, for the VNNI kernels.
TileArgs rest_of(const TileArgs& args, int done) {
  TileArgs rest = args;
  rest.rows = static_cast<const uint8_t*>(args.rows) + int64_t{done} * args.d_pad;
  rest.n_rows = args.n_rows - done;
  rest.prefetch = nullptr;
  return rest;
}

int64_t staged_bytes(int n_rows, int d_pad) { return int64_t{n_rows} * d_pad; }

// Rows behind the last strip stay as they are.
void stage_rows(const uint8_t* codes, int n_rows, int d_pad, void* staged) {
  auto* out = static_cast<uint8_t*>(staged);
  int first = 0;
  for (; first + kStripRows <= n_rows; first += kStripRows) {
    const uint8_t* strip = codes + int64_t{first} * d_pad;
    for (int line = 0; line < d_pad; line += kLine) {
      for (int r = 0; r < kStripRows; ++r, out += kLine) {
        _mm512_storeu_si512(out, _mm512_loadu_si512(strip + int64_t{r} * d_pad + line));
      }
    }
  }
  std::memcpy(out, codes + int64_t{first} * d_pad,
              static_cast<size_t>(n_rows - first) * static_cast<size_t>(d_pad));
}

int tile_hits(const TileArgs& args, Hit* hits) {
  int done = 0, count = 0;
  if (args.w != nullptr) {
    HitCollector<true> collector(args, hits);
    done = strips(args, collector);
    count = collector.count();
  } else {
    HitCollector<false> collector(args, hits);
    done = strips(args, collector);
    count = collector.count();
  }
  if (done == args.n_rows) return count;
  TileArgs rest = rest_of(args, done);
  rest.u += done;
  rest.v += done;
  if (rest.w != nullptr) rest.w += done;
  const int more = vnni_tile_hits(rest, hits + count);
  for (Hit* hit = hits + count; hit < hits + count + more; ++hit) hit->row += done;
  return count + more;
}

void tile_dots(const TileArgs& args, int32_t* dots) {
  DotStore collector{dots};
  const int done = strips(args, collector);
  if (done < args.n_rows) vnni_tile_dots(rest_of(args, done), dots + int64_t{done} * kPanel);
}

}  // namespace
}  // namespace idsim::cpu

#pragma GCC pop_options

namespace idsim::cpu {

bool may_use_amx() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

const Kernels& amx_kernels() {
  static const Kernels table = [] {
    Kernels k = vnni_kernels();
    k.name = "amx";
    k.staged_bytes = staged_bytes;
    k.stage_rows = stage_rows;
    k.stage_panels = 8;  // Xeon, d = 512: staging costs two panels and saves a quarter of each
    k.prefetch_parts =
        32;  // one panel is over before memory delivers a block: 4 to 8 % at q = 1,024
    k.tile_hits = tile_hits;
    k.tile_dots = tile_dots;
    k.tile_rows = kStripRows;
    k.few_nibble = 1;  // Xeon, 1M x 512: 17.8 against 20.1 ms; two queries 24.5 against 20.4
    return k;
  }();
  return table;
}

}  // namespace idsim::cpu

// Coded products with AVX2: codes widened to 16 bits, vpmaddwd into 32. The 8-bit product of AVX2
// (vpmaddubsw) saturates, so it cannot serve.
//
// Staged rows: 16-bit codes, row-major. Packed panel: two halves of 16 queries, each [d_pad / 2][16][2] 16-bit
// codes: at d = 512 a half takes 16 KB and stays in the first cache while all rows of the block pass.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "cpu/avx2.hpp"
#include "cpu/kernels.hpp"

// After the headers, so that their inline functions stay within the baseline.
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace idsim::cpu::avx2 {
namespace {

constexpr int kHalf = 16;  // queries of half a panel, two registers
constexpr int kTileRows =
    6;  // 6 rows x 2 registers = 12 accumulators, 2 for queries, 1 for the row, of 16
constexpr int kScanRows = 4;  // rows that the row scan takes at a time
constexpr int kCacheLine = 64;

int64_t panel_bytes(int d_pad) { return int64_t{kPanel} * d_pad * int64_t{sizeof(int16_t)}; }

void pack_panel(const int8_t* codes, int n_queries, int d_pad, void* panel) {
  auto* out = static_cast<int16_t*>(panel);
  std::memset(out, 0, static_cast<size_t>(panel_bytes(d_pad)));
  for (int j = 0; j < n_queries; ++j) {
    const int8_t* code = codes + int64_t{j} * d_pad;
    int16_t* column = out + int64_t{j / kHalf} * kHalf * d_pad + j % kHalf * 2;
    for (int k = 0; k < d_pad; k += 2) {
      column[int64_t{k} * kHalf] = code[k];
      column[int64_t{k} * kHalf + 1] = code[k + 1];
    }
  }
}

int64_t staged_bytes(int n_rows, int d_pad) {
  return int64_t{n_rows} * d_pad * int64_t{sizeof(int16_t)};
}

void stage_rows(const uint8_t* codes, int n_rows, int d_pad, void* staged) {
  auto* out = static_cast<int16_t*>(staged);
  const __m256i middle = _mm256_set1_epi16(128);
  const int64_t count = int64_t{n_rows} * d_pad;
  for (int64_t i = 0; i < count; i += 16) {
    const __m256i wide =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_sub_epi16(wide, middle));
  }
}

// I of kRows rows with the 16 queries of half a panel.
template <int kRows>
[[gnu::always_inline]] inline void multiply(const int16_t* rows, const int16_t* half, int64_t d_pad,
                                            __m256i (&sums)[kRows][2]) {
  for (auto& sum : sums) sum[0] = sum[1] = _mm256_setzero_si256();
  const int16_t* end = rows + d_pad;
#pragma GCC unroll 4
  for (; rows != end; rows += 2, half += 2 * kHalf) {
    const __m256i q0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half));
    const __m256i q1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half + kHalf));
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      int32_t pair;
      std::memcpy(&pair, rows + r * d_pad, sizeof pair);
      const __m256i x = _mm256_set1_epi32(pair);
      sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(x, q0));
      sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(x, q1));
    }
  }
}

// Which of eight pairs of one row reach the row's bound, as bits.
[[gnu::always_inline]] inline int reached(const TileArgs& args, int row, int query, __m256i dots) {
  const __m256 a = _mm256_loadu_ps(args.a + query);
  const __m256 b = _mm256_loadu_ps(args.b + query);
  __m256 bound = _mm256_mul_ps(b, _mm256_broadcast_ss(args.v + row));
  if (args.w != nullptr) {
    bound =
        _mm256_fmsub_ps(_mm256_loadu_ps(args.c + query), _mm256_broadcast_ss(args.w + row), bound);
    bound = _mm256_fmadd_ps(a, _mm256_broadcast_ss(args.u + row), bound);
  } else {
    bound = _mm256_fmsub_ps(a, _mm256_broadcast_ss(args.u + row), bound);
  }
  return _mm256_movemask_ps(_mm256_cmp_ps(_mm256_cvtepi32_ps(dots), bound, _CMP_GE_OQ));
}

[[gnu::noinline]] Hit* append(int row, int query, unsigned bits, __m256i dots, Hit* next) {
  int32_t values[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), dots);
  for (; bits != 0; bits &= bits - 1) {
    const int at = __builtin_ctz(bits);
    *next++ = {row, query + at, values[at]};
  }
  return next;
}

struct HitSink {
  Hit* next;

  template <int kRows>
  [[gnu::always_inline]] void take(const TileArgs& args, int row, int query,
                                   const __m256i (&sums)[kRows][2]) {
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const int low = reached(args, row + r, query, sums[r][0]);
      const int high = reached(args, row + r, query + 8, sums[r][1]);
      if ((low | high) == 0) [[likely]]
        continue;
      next = append(row + r, query, static_cast<unsigned>(low), sums[r][0], next);
      next = append(row + r, query + 8, static_cast<unsigned>(high), sums[r][1], next);
    }
  }
};

struct DotSink {
  int32_t* dots;

  template <int kRows>
  [[gnu::always_inline]] void take(const TileArgs&, int row, int query,
                                   const __m256i (&sums)[kRows][2]) {
    for (int r = 0; r < kRows; ++r) {
      auto* out = reinterpret_cast<__m256i*>(dots + int64_t{row + r} * kPanel + query);
      _mm256_storeu_si256(out, sums[r][0]);
      _mm256_storeu_si256(out + 1, sums[r][1]);
    }
  }
};

template <int kRows, class Sink>
void tile(const TileArgs& args, int row, int query, Sink& sink) {
  __m256i sums[kRows][2];
  const auto* rows = static_cast<const int16_t*>(args.rows) + int64_t{row} * args.d_pad;
  const auto* half = static_cast<const int16_t*>(args.panel) + int64_t{query} * args.d_pad;
  multiply<kRows>(rows, half, args.d_pad, sums);
  sink.template take<kRows>(args, row, query, sums);
}

// Asks for the next block's codes of the rows of one tile, half of them with each half of the panel.
void prefetch_rows(const TileArgs& args, int row, int query) {
  const int64_t bytes = int64_t{kTileRows} * args.d_pad / 2;
  const uint8_t* first = args.prefetch + int64_t{row} * args.d_pad + (query == 0 ? 0 : bytes);
  for (int64_t i = 0; i < bytes; i += kCacheLine) {
    _mm_prefetch(reinterpret_cast<const char*>(first + i), _MM_HINT_T1);
  }
}

template <class Sink>
void pass_tiles(const TileArgs& args, Sink& sink) {
  for (int query = 0; query < kPanel; query += kHalf) {
    int row = 0;
    for (; row + kTileRows <= args.n_rows; row += kTileRows) {
      if (args.prefetch != nullptr) prefetch_rows(args, row, query);
      tile<kTileRows>(args, row, query, sink);
    }
    for (; row < args.n_rows; ++row) tile<1>(args, row, query, sink);
  }
}

int tile_hits(const TileArgs& args, Hit* hits) {
  HitSink sink{hits};
  pass_tiles(args, sink);
  return static_cast<int>(sink.next - hits);
}

void tile_dots(const TileArgs& args, int32_t* dots) {
  DotSink sink{dots};
  pass_tiles(args, sink);
}

// Sums of (row code) * (query code), the row codes unsigned: I plus the query's offset.
template <int kRows, int kQueries>
[[gnu::always_inline]] inline void scan_multiply(const uint8_t* const (&rows)[kRows],
                                                 const int8_t* queries, int64_t d_pad,
                                                 __m256i (&sums)[kQueries][kRows]) {
  for (auto& query : sums) {
    for (__m256i& sum : query) sum = _mm256_setzero_si256();
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < d_pad; i += 16) {
    _mm_prefetch(reinterpret_cast<const char*>(rows[0] + 4 * i + 4096), _MM_HINT_T0);
    __m256i q[kQueries];
#pragma GCC unroll 2
    for (int j = 0; j < kQueries; ++j) {
      const auto* at = reinterpret_cast<const __m128i*>(queries + j * d_pad + i);
      q[j] = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i x =
          _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + i)));
#pragma GCC unroll 2
      for (int j = 0; j < kQueries; ++j) {
        sums[j][r] = _mm256_add_epi32(sums[j][r], _mm256_madd_epi16(x, q[j]));
      }
    }
  }
}

int32_t dot_i8(const uint8_t* row, const int8_t* query, int d_pad) {
  const __m128i middle = _mm_set1_epi8(-128);
  __m256i sum = _mm256_setzero_si256();
  for (int i = 0; i < d_pad; i += 16) {
    const __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i));
    const __m256i x = _mm256_cvtepi8_epi16(_mm_xor_si128(code, middle));
    const __m256i q =
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query + i)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, q));
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

// Four rows of the row scan and their terms; rows past the block's end repeat its last row.
struct ScanRows {
  const uint8_t* codes[kScanRows];
  __m128 u, v, w;
  unsigned used;  // a bit for every row that is there
};

ScanRows scan_rows(const RowScanArgs& args, int row) {
  const int n = std::min(kScanRows, args.n_rows - row);
  const __m128i present = _mm_cmpgt_epi32(_mm_set1_epi32(n), _mm_setr_epi32(0, 1, 2, 3));
  ScanRows rows;
  for (int r = 0; r < kScanRows; ++r)
    rows.codes[r] = args.rows + int64_t{row + std::min(r, n - 1)} * args.d_pad;
  rows.u = _mm_maskload_ps(args.u + row, present);
  rows.v = _mm_maskload_ps(args.v + row, present);
  rows.w = args.w != nullptr ? _mm_maskload_ps(args.w + row, present) : _mm_setzero_ps();
  rows.used = (1U << n) - 1;
  return rows;
}

// I of four rows, from their sums.
[[gnu::always_inline]] inline __m128i fold_rows(const __m256i (&sums)[kScanRows], int32_t offset) {
  const __m256i low = _mm256_hadd_epi32(sums[0], sums[1]);
  const __m256i high = _mm256_hadd_epi32(sums[2], sums[3]);
  const __m256i all = _mm256_hadd_epi32(low, high);
  const __m128i dots = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  return _mm_sub_epi32(dots, _mm_set1_epi32(offset));
}

// Appends the hits of one query among four rows.
[[gnu::always_inline]] inline Hit* scan_hits(const RowScanArgs& args, const ScanRows& rows, int row,
                                             int query, __m128i dots, Hit* next) {
  __m128 bound = _mm_mul_ps(_mm_set1_ps(args.b[query]), rows.v);
  if (args.w != nullptr) {
    bound = _mm_fmsub_ps(_mm_set1_ps(args.c[query]), rows.w, bound);
    bound = _mm_fmadd_ps(_mm_set1_ps(args.a[query]), rows.u, bound);
  } else {
    bound = _mm_fmsub_ps(_mm_set1_ps(args.a[query]), rows.u, bound);
  }
  const int passed = _mm_movemask_ps(_mm_cmp_ps(_mm_cvtepi32_ps(dots), bound, _CMP_GE_OQ));
  unsigned bits = static_cast<unsigned>(passed) & rows.used;
  if (bits == 0) [[likely]]
    return next;
  int32_t values[kScanRows];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(values), dots);
  for (; bits != 0; bits &= bits - 1) {
    const int at = __builtin_ctz(bits);
    *next++ = {row + at, query, values[at]};
  }
  return next;
}

template <int kQueries>
[[gnu::always_inline]] inline Hit* scan_queries(const RowScanArgs& args, const ScanRows& rows,
                                                int row, int query, Hit* next) {
  __m256i sums[kQueries][kScanRows];
  scan_multiply<kScanRows, kQueries>(rows.codes, args.queries + int64_t{query} * args.d_pad,
                                     args.d_pad, sums);
  for (int j = 0; j < kQueries; ++j) {
    const __m128i dots = fold_rows(sums[j], args.offsets[query + j]);
    next = scan_hits(args, rows, row, query + j, dots, next);
  }
  return next;
}

int row_scan_hits(const RowScanArgs& args, Hit* hits) {
  Hit* next = hits;
  for (int row = 0; row < args.n_rows; row += kScanRows) {
    const ScanRows rows = scan_rows(args, row);
    int query = 0;
    for (; query + 2 <= args.n_queries; query += 2)
      next = scan_queries<2>(args, rows, row, query, next);
    if (query < args.n_queries) next = scan_queries<1>(args, rows, row, query, next);
  }
  return static_cast<int>(next - hits);
}

}  // namespace
}  // namespace idsim::cpu::avx2

#pragma GCC pop_options

namespace idsim::cpu {

const Kernels& avx2_kernels() {
  using namespace avx2;
  static constexpr Kernels kTable{"avx2",      quantize_row, dot,           dot_i8,
                                  panel_bytes, pack_panel,   staged_bytes,  stage_rows,
                                  tile_hits,   tile_dots,    row_scan_hits, dots_f32};
  return kTable;
}

}  // namespace idsim::cpu

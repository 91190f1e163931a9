// AVX-512 VNNI: few queries against rows that are read once.
//
// W query slots (1, 2, 4 or 8; spare slots are empty) share a register: slot j holds 64 / W bytes of
// query j. As many bytes of a row, broadcast, meet all W queries in one product, so nothing is computed
// twice and each accumulator holds 16 / W partial sums of each of its W pairs. Sixteen rows at a time,
// their accumulators are folded into W registers of 16 finished pairs each. More than 8 queries are
// two sets of 8 that share the broadcast.
#include <immintrin.h>

#include <cstdint>

#include "cpu/avx512.hpp"
#include "cpu/row_sums_vnni.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace idsim::cpu {
namespace {

constexpr int kRows = 16;
constexpr int kLine = 64;
constexpr int kMostSlots = 16;
constexpr int kPackedBytes = 12 << 10;   // of queries: leaves room for rows in the first cache
constexpr int kCachedBytes = 128 << 10;  // of rows
constexpr int64_t kAhead = 2048;         // bytes, at least

template <int W>
inline __m512i broadcast(const uint8_t* p) {
  if constexpr (W == 1) return _mm512_loadu_si512(p);
  if constexpr (W == 2)
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  if constexpr (W == 4)
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  int64_t bytes;
  __builtin_memcpy(&bytes, p, 8);
  return _mm512_set1_epi64(bytes);
}

template <int kControl>
inline __m512i shuffle_words(__m512i a, __m512i b) {
  return _mm512_castps_si512(
      _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), kControl));
}

// Place of element i of a folded register: its row within the 16 / W rows folded, its query.
template <int W>
constexpr int row_at(int i) {
  if (W == 8) return (i & 3) >> 1;
  if (W == 4) return i & 3;
  if (W == 2) return 4 * (i >> 3) + (i & 3);
  return i;
}
template <int W>
constexpr int query_at(int i) {
  if (W == 8) return 2 * (i >> 2) + (i & 1);
  if (W == 4) return i >> 2;
  if (W == 2) return (i >> 2) & 1;
  return 0;
}

template <int W>
struct Places {
  alignas(64) int32_t row[16];
  alignas(64) int32_t query[16];
  constexpr Places() : row(), query() {
    for (int i = 0; i < 16; ++i) {
      row[i] = row_at<W>(i);
      query[i] = query_at<W>(i);
    }
  }
};

template <int W>
inline constexpr Places<W> kPlaces{};

template <int W>
ALWAYS_INLINE __m512i folded(const __m512i* s) {
  if constexpr (W == 8)
    return _mm512_add_epi32(shuffle_words<0x88>(s[0], s[1]), shuffle_words<0xDD>(s[0], s[1]));
  if constexpr (W == 4) return fold_lane(s[0], s[1], s[2], s[3]);
  if constexpr (W == 2) {
    return fold_lanes_pairwise(fold_lane(s[0], s[1], s[2], s[3]),
                               fold_lane(s[4], s[5], s[6], s[7]));
  }
  return fold_rows(s);
}

// Several rows at a time would be as many streams to the hardware prefetcher, which halves the memory
// bandwidth. So the rows are read once in order, a little ahead of the products, by one load per line.
class Reader {
 public:
  Reader(const RowScanArgs& args, int rows_at_once)
      : next_(args.rows + ahead(args.d_pad, rows_at_once)),
        end_(args.rows + int64_t{args.n_rows} * args.d_pad) {}

  ALWAYS_INLINE void read_lines(int n) {
    if (next_ + n * kLine <= end_) {
      for (int i = 0; i < n; ++i) {
        static_cast<void>(*static_cast<const volatile uint8_t*>(next_ + i * kLine));
      }
    }
    next_ += n * kLine;
  }

 private:
  static int64_t ahead(int d_pad, int rows) {
    const int64_t group = int64_t{d_pad} * rows;
    return group < kAhead ? kAhead : group;
  }

  const uint8_t* next_;
  const uint8_t* end_;
};

// W queries side by side, n of them real; their terms lie where folding puts their pairs.
template <int W>
struct Slots {
  int first, n;
  __m512 a, b, c;
  __m512i start;

  void load(const RowScanArgs& args, int first_query, int count) {
    first = first_query;
    n = count;
    const auto present = static_cast<__mmask16>((1U << n) - 1U);
    const __m512i at = _mm512_load_si512(kPlaces<W>.query);
    const __m512 never = _mm512_set1_ps(__builtin_inff());
    a = _mm512_permutexvar_ps(at, _mm512_mask_loadu_ps(never, present, args.a + first));
    b = _mm512_permutexvar_ps(at, _mm512_maskz_loadu_ps(present, args.b + first));
    c = args.w == nullptr
            ? _mm512_setzero_ps()
            : _mm512_permutexvar_ps(at, _mm512_maskz_loadu_ps(present, args.c + first));
    alignas(64) int32_t offsets[16] = {};
    for (int j = 0; j < n; ++j) offsets[j * (16 / W)] = -args.offsets[first + j];
    start = _mm512_load_si512(offsets);
  }

  void pack(const RowScanArgs& args, int8_t* packed) const {
    constexpr int part = kLine / W;
    for (int i = 0; i < args.d_pad; i += part) {
      for (int j = 0; j < W; ++j, packed += part) {
        if (j < n) {
          __builtin_memcpy(packed, args.queries + int64_t{first + j} * args.d_pad + i, part);
        } else {
          __builtin_memset(packed, 0, part);
        }
      }
    }
  }
};

// S sets of W slots for queries first .. first + n of the arguments.
template <int W, int S>
class Scan {
 public:
  Scan(const RowScanArgs& args, int first, int n, Hit* hits) : args_(args), hits_(hits) {
    for (int s = 0; s < S; ++s) {
      const int left = n - s * W;
      slots_[s].load(args, first + s * W, left < W ? left : W);
    }
  }

  int run() {
    if constexpr (W == 1) {
      scan(args_.queries + int64_t{slots_[0].first} * args_.d_pad);
    } else {
      alignas(64) int8_t packed[kPackedBytes];
      for (int s = 0; s < S; ++s) slots_[s].pack(args_, packed + int64_t{s} * W * args_.d_pad);
      scan(packed);
    }
    return count_;
  }

 private:
  // Rows that share a load of the queries.
  static constexpr int kAtOnce = W <= 2 ? 1 : 4;

  void scan(const int8_t* packed) {
    Reader reader(args_, kAtOnce);
    __m512i sums[S][kRows];
    int row = 0;
    for (; row + kRows <= args_.n_rows; row += kRows) {
      for (int r = 0; r < kRows; r += kAtOnce) products<kAtOnce>(row, r, packed, reader, sums);
      for (int s = 0; s < S; ++s) collect(slots_[s], sums[s], row, kRows);
    }
    const int left = args_.n_rows - row;
    if (left == 0) return;
    for (int s = 0; s < S; ++s) {
      for (int r = left; r < kRows; ++r) sums[s][r] = slots_[s].start;
    }
    for (int r = 0; r < left; ++r) products<1>(row, r, packed, reader, sums);
    for (int s = 0; s < S; ++s) collect(slots_[s], sums[s], row, left);
  }

  // R rows from `first_row` + r. At least four chains of accumulators hide the latency of the product.
  template <int R>
  ALWAYS_INLINE void products(int first_row, int r, const int8_t* packed, Reader& reader,
                              __m512i (&sums)[S][kRows]) const {
    constexpr int part = kLine / W;
    constexpr int chains = W > 1 && R * S < 8 ? 2 : 1;
    const int64_t stride = args_.d_pad;
    const uint8_t* rows = args_.rows + (first_row + r) * stride;
    __m512i acc[R][S][chains];
    for (auto& row : acc) {
      for (int s = 0; s < S; ++s) {
        for (int c = 0; c < chains; ++c)
          row[s][c] = c == 0 ? slots_[s].start : _mm512_setzero_si512();
      }
    }
    for (int i = 0; i < args_.d_pad; i += kLine) {
      if constexpr (R > 1) reader.read_lines(R);
#pragma GCC unroll 8
      for (int step = 0; step < W; ++step) {
        __m512i query[S];
        for (int s = 0; s < S; ++s) {
          query[s] = _mm512_loadu_si512(packed + (s * stride + i) * W + step * kLine);
        }
#pragma GCC unroll 4
        for (int k = 0; k < R; ++k) {
          const __m512i row = broadcast<W>(rows + k * stride + i + step * part);
          for (int s = 0; s < S; ++s) add_products(acc[k][s][step % chains], row, query[s]);
        }
      }
    }
    for (int k = 0; k < R; ++k) {
      for (int s = 0; s < S; ++s) {
        sums[s][r + k] =
            chains == 1 ? acc[k][s][0] : _mm512_add_epi32(acc[k][s][0], acc[k][s][chains - 1]);
      }
    }
  }

  // `rows` of 16 are real.
  ALWAYS_INLINE void collect(const Slots<W>& slots, const __m512i* sums, int first_row, int rows) {
    constexpr int per = 16 / W;
    const auto present = static_cast<__mmask16>((1U << rows) - 1U);
    const __m512 nan = _mm512_set1_ps(__builtin_nanf(""));
    const __m512 u = _mm512_mask_loadu_ps(nan, present, args_.u + first_row);
    const __m512 v = _mm512_maskz_loadu_ps(present, args_.v + first_row);
    const __m512 w = args_.w == nullptr ? v : _mm512_maskz_loadu_ps(present, args_.w + first_row);
    const __m512i at = _mm512_load_si512(kPlaces<W>.row);
#pragma GCC unroll 8
    for (int f = 0; f < W; ++f) {
      const __m512i dots = folded<W>(sums + f * per);
      const __m512i place = _mm512_add_epi32(at, _mm512_set1_epi32(f * per));
      const __m512 reach = _mm512_mul_ps(slots.a, _mm512_permutexvar_ps(place, u));
      __m512 rest = _mm512_mul_ps(slots.b, _mm512_permutexvar_ps(place, v));
      rest = args_.w == nullptr
                 ? _mm512_sub_ps(_mm512_setzero_ps(), rest)
                 : _mm512_sub_ps(_mm512_mul_ps(slots.c, _mm512_permutexvar_ps(place, w)), rest);
      const __mmask16 mask =
          _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(dots), _mm512_add_ps(reach, rest), _CMP_GE_OQ);
      if (__builtin_expect(mask != 0, 0)) append(dots, mask, first_row + f * per, slots.first);
    }
  }

  __attribute__((noinline, cold)) void append(__m512i dots, uint32_t mask, int first_row,
                                              int first_query) {
    alignas(64) int32_t values[16];
    _mm512_store_si512(values, dots);
    for (; mask != 0; mask &= mask - 1) {
      const int i = __builtin_ctz(mask);
      hits_[count_++] = {first_row + kPlaces<W>.row[i], first_query + kPlaces<W>.query[i],
                         values[i]};
    }
  }

  const RowScanArgs& args_;
  Hit* hits_;
  int count_ = 0;
  Slots<W> slots_[S];
};

int scan_some(const RowScanArgs& args, int first, int n, Hit* hits) {
  if (n == 1) return Scan<1, 1>(args, first, n, hits).run();
  if (n == 2) return Scan<2, 1>(args, first, n, hits).run();
  if (n <= 4) return Scan<4, 1>(args, first, n, hits).run();
  if (n <= 8) return Scan<8, 1>(args, first, n, hits).run();
  return Scan<8, 2>(args, first, n, hits).run();
}

// The arguments for some of the rows.
RowScanArgs part_of(const RowScanArgs& args, int first_row, int rows) {
  RowScanArgs part = args;
  part.rows += int64_t{first_row} * args.d_pad;
  part.n_rows = rows;
  part.u += first_row;
  part.v += first_row;
  if (args.w != nullptr) part.w += first_row;
  return part;
}

}  // namespace

int vnni_row_scan_hits(const RowScanArgs& args, Hit* hits) {
  int at_once = kMostSlots;
  while (at_once > 1 && int64_t{at_once} * args.d_pad > kPackedBytes) at_once /= 2;
  // Where the queries take several passes, the rows of a pass stay in the cache for the next.
  const int cached = kRows * (1 + kCachedBytes / (kRows * args.d_pad));
  const int most_rows = args.n_queries > at_once ? cached : args.n_rows;
  int count = 0;
  for (int row = 0; row < args.n_rows; row += most_rows) {
    const int left = args.n_rows - row;
    const RowScanArgs part = part_of(args, row, left < most_rows ? left : most_rows);
    for (int first = 0; first < args.n_queries; first += at_once) {
      const int n = args.n_queries - first < at_once ? args.n_queries - first : at_once;
      const int end = count + scan_some(part, first, n, hits + count);
      for (; count < end; ++count) hits[count].row += row;
    }
  }
  return count;
}

}  // namespace idsim::cpu

#pragma GCC pop_options

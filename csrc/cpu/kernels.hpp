// What an instruction set offers the scans: a table of functions over plain pointers. The kernels know
// nothing of threads, thresholds' meaning, or of what is collected.
//
// Contract of the coded products: integer dot I(row, query) = sum over d_pad of (row_code - 128) * query_code,
// exact in int32. Codes of padding are 128 (rows) and 0 (queries).
#pragma once

#include <cstdint>

#include "core/codes.hpp"
#include "core/nibbles.hpp"

namespace idsim::cpu {

inline constexpr int kPanel = 32;       // queries that a tile kernel takes at a time
inline constexpr int kFewQueries = 16;  // most queries that any row scan takes
inline constexpr int kFewNibble = 2;    // most queries that a scan of 4-bit codes takes

struct Hit {
  int32_t row;    // within the block
  int32_t query;  // within the panel
  int32_t dot;    // I
};

// A block of gallery rows against a panel of queries.
struct TileArgs {
  const void* rows;  // [n_rows, d_pad], or these as Kernels::stage_rows left them
  bool staged;
  int n_rows;
  int d_pad;                // multiple of kDimPad
  const void* panel;        // packed panel, see Kernels::pack_panel
  const float* u;           // [n_rows] row terms of core/bounds.hpp
  const float* v;           // [n_rows]
  const float* w;           // [n_rows]; null: no third term (cosine, dot)
  const float* a;           // [kPanel] query terms; unused queries: +inf
  const float* b;           // [kPanel]
  const float* c;           // [kPanel]; read only where w is given
  const uint8_t* prefetch;  // next block's codes, or this call's part of them, or null
  int prefetch_parts = 1;   // how many calls share these [n_rows, d_pad] codes
};

// A block of gallery rows against 1 to kFewQueries queries, rows read once.
struct RowScanArgs {
  const uint8_t* rows;  // [n_rows, d_pad] codes
  int n_rows;
  int d_pad;
  const int8_t* queries;  // [n_queries, d_pad] codes
  int n_queries;
  const int32_t* offsets;  // [n_queries] 128 * sum of the query's codes
  const float* u;
  const float* v;
  const float* w;  // null: no third term
  const float* a;  // [n_queries]
  const float* b;
  const float* c;
};

// A block of 4-bit codes (core/nibbles.hpp) against 1 to kFewNibble queries of two digits.
struct NibbleScanArgs {
  const uint8_t* rows;  // [n_rows, nibble_bytes(d_pad)]
  int n_rows;
  int d_pad;
  const int8_t*
      queries;  // [n_queries, 2, 2 * nibble_bytes(d_pad)] coarse and fine digits, then zeros
  int n_queries;
  const int32_t* starts;  // [n_queries, 2] -128 * sum of the digits
  const float* u;
  const float* v;
  const float* w;  // null: no third term
  const float* a;  // [n_queries]
  const float* b;
  const float* c;
};

struct Kernels {
  const char* name;

  // Codes and stats of one float32 row (core/codes.hpp). code: [d_pad] unsigned.
  RowStats (*quantize_row)(const float* x, int64_t d, uint8_t* code);
  // The canonical dot (core/score.hpp).
  double (*dot)(const float* a, const float* b, int64_t d);
  // I of one row and one query.
  int32_t (*dot_i8)(const uint8_t* row, const int8_t* query, int d_pad);

  // Tile kernels. Bytes of a packed panel; packing of n_queries <= kPanel rows of codes [n_queries, d_pad].
  int64_t (*panel_bytes)(int d_pad);
  void (*pack_panel)(const int8_t* codes, int n_queries, int d_pad, void* panel);
  // Rows as the tile kernel wants them: null where it takes the codes as they are.
  int64_t (*staged_bytes)(int n_rows, int d_pad);
  void (*stage_rows)(const uint8_t* codes, int n_rows, int d_pad, void* staged);
  // Appends every (row, query) with float(I) >= a u + (c w - b v), in any order; returns how many.
  // hits: room for n_rows * kPanel.
  int (*tile_hits)(const TileArgs&, Hit* hits);
  // All I, row-major [n_rows, kPanel].
  void (*tile_dots)(const TileArgs&, int32_t* dots);

  // The same test as tile_hits; Hit::query counts from 0. hits: room for n_rows * n_queries.
  int (*row_scan_hits)(const RowScanArgs&, Hit* hits);

  // float32 products of raw rows with few queries: dots[i * n_queries + j] and squares[i] = x_i . x_i.
  // Any summation order with |error| <= (d / 8 + 16) 2^-24 ||x|| ||q||. rows: stride in floats.
  void (*dots_f32)(const float* rows, int64_t stride, int n_rows, const float* queries,
                   int n_queries, int64_t d, float* dots, float* squares);

  // Up to so many queries the row scan is faster than a panel (measured per table).
  int few_queries = 8;

  // Blocks of a multiple of so many rows are whole tiles.
  int tile_rows = 12;
  // Staging pays from so many panels on; above 1, the tile kernels take rows either way.
  int stage_panels = 1;
  // Most panels that share the fetching of the next block, a power of two up to tile_rows.
  int prefetch_parts = 1;

  // 4-bit codes, where the table has them: those of one coded row, and the scan of them. It lists for each
  // query the rows with 256 J1 + J2 >= a u + (c w - b v), in order; rows: [n_queries, n_rows + 16].
  NibbleStats (*nibble_row)(const float* x, int64_t d, const uint8_t* code, float scale,
                            uint8_t* nibbles) = nullptr;
  void (*nibble_scan)(const NibbleScanArgs&, int32_t* rows, int* counts) = nullptr;
  // Up to so many queries, at most kFewNibble, that scan is faster than the one of 8-bit codes.
  int few_nibble = kFewNibble;
};

// Tables of the instruction sets; each is only to be called where the machine has it.
const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& vnni_kernels();
const Kernels& amx_kernels();
// Asks the system for AMX's tile registers, on behalf of every thread of the process.
bool may_use_amx();

}  // namespace idsim::cpu

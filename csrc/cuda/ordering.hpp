// The order in which a gallery's codes lie.
//
// The wgmma tile kernel compares the products of a tile of 128 rows with one threshold per query, made of the least and
// the largest terms of these rows (core/bounds.hpp). The term u = ||x|| / s (dot, l2: 1 / s) differs from row to row, and
// a tile's extremes would make that threshold loose. Within blocks of kOrderBlock rows, codes and their stats are
// therefore stored by ascending u. A place among the codes is a slot; the row whose codes lie there is
// slot + order[slot]. Answers know rows alone.
#pragma once

#include "core/precision.hpp"
#include "core/types.hpp"
#include "cuda/rows.hpp"

namespace idsim::cuda {

inline constexpr int64_t kOrderBlock = 8192;

// Whether codes of this precision are to be ordered on a device. Throws as tile_tier (cuda/tiles.hpp).
bool wants_order(int device, Precision precision);

// The most rows up to `rows` that leave the blocks of parts whole.
inline int64_t whole_blocks(int64_t rows) {
  return rows < kOrderBlock ? rows : rows / kOrderBlock * kOrderBlock;
}

// Writes out.order for codes that are made next; overwrites out.u. Blocks begin at row 0. Within a block u ascends, to 11
// significant bits; rows of the same u lie in their own order, and rows that get no codes come last.
void order_rows(const MatrixView& rows, Metric metric, const CodedRows& out, cudaStream_t stream);

}  // namespace idsim::cuda

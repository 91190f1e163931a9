// How a top-k search on a device uses its memory: how many queries go together, how many rows of the gallery, how long
// the lists of a query are, and what each takes. Planned here without a device; csrc/cuda allocates what is planned.
#pragma once

#include <cstdint>

#include "core/precision.hpp"
#include "core/sample_rule.hpp"

namespace idsim {

// Rows from which the first thresholds come: 16,384, or 32 per wanted result, but at most an eighth of the gallery; none
// where that is under four per result.
SampleRule device_sample(int64_t gallery_rows, int64_t k);

// Of a query: candidates that the filter may let through per slab, and results with room for new ones behind them.
int64_t candidate_capacity(int64_t k);
int64_t result_room(int64_t k);

// Tiles of queries whose products with the sample are made at a time: one, or as many as take no more than the lists of
// candidates do.
int64_t sampled_tiles(int64_t queries, int64_t sampled, int64_t k);

// How a gallery reaches the scan.
enum class GalleryForm {
  device_rows,  // rows on the device, coded part by part
  host_rows,    // rows on the host or in files, sent and coded part by part
  host_codes,  // codes on the host or in files, sent part by part, and the rows that they cannot decide
  index,       // codes and rows on the device
  host_index  // codes on the device, rows on the host
};

// How much of a gallery is worked on at a time.
struct PartPlan {
  int64_t rows = 0;          // of a part; where all is on the device, all
  int64_t fetched_rows = 0;  // that are sent at a time because codes cannot decide them
  int64_t part_bytes = 0;    // of the device
  int64_t fetch_bytes = 0;
  int64_t pinned_bytes = 0;  // of the host
};

// row_bytes: of a row as it is sent to the device. precision: of the codes, of host_codes 8 bits. A part has at least one
// row, whatever the budget.
PartPlan plan_parts(GalleryForm form, int64_t rows, int64_t dim, int64_t row_bytes,
                    Precision precision, int64_t budget);

struct SearchShape {
  int64_t queries = 0;
  int64_t query_bytes = 0;  // of a query as it is sent; 0: the queries are on the device
  int64_t rows = 0;
  int64_t row_bytes = 0;
  int64_t dim = 0;
  int64_t k = 0;
  GalleryForm form = GalleryForm::host_rows;
  Precision precision = Precision::automatic;  // that is asked for, or of the codes that are there
  bool int8_tensor_cores = true;
};

// What a search of this shape codes its queries and rows with; for parts of its queries it may be something smaller.
Precision planned_precision(const SearchShape& shape);

// All but the numbers of queries, rows and candidates are bytes of the device.
struct SearchPlan {
  int64_t query_chunk = 0;  // 0: the budget does not hold kLeastQueries
  int64_t candidates = 0;   // of a query
  Precision precision = Precision::automatic;
  PartPlan part;
  int64_t query_bytes = 0;      // rows, codes and terms of the queries
  int64_t candidate_bytes = 0;  // lists of what may count
  int64_t result_bytes = 0;     // lists of the best so far, and the results
  int64_t sample_bytes = 0;
  int64_t total = 0;
  int64_t least = 0;  // a budget that would do
};

// Queries that are worked on together even where memory is short.
inline constexpr int64_t kLeastQueries = 32;

SearchPlan plan_search(const SearchShape& shape, int64_t budget);

// What a prepared gallery keeps on the device.
struct IndexPlan {
  int64_t code_bytes = 0;  // codes, stats, terms and order
  int64_t row_bytes = 0;   // of all rows, if they are sent there
  bool rows_fit = false;   // beside the codes, within the budget
};

IndexPlan plan_index(int64_t rows, int64_t dim, int64_t row_bytes, Precision precision,
                     int64_t budget);

// Of the device, where the codes of a row do not lie in its place (cuda/ordering.hpp): where they lie.
inline constexpr int64_t kOrderBytes = 2;

// Of the device: codes of a row with their stats, terms and order, which plans always count; and an 8-bit code with its
// stats on its way, without terms.
int64_t coded_row_bytes(Precision precision, int64_t dim);
int64_t sent_code_bytes(int64_t dim);

}  // namespace idsim

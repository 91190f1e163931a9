// A gallery as the device's scans read it. Scans and their lists number its codes, by slots; labels, ids and stored rows
// go by the row whose codes lie there (cuda/ordering.hpp).
#pragma once

#include "core/bounds.hpp"
#include "core/types.hpp"
#include "cuda/rows.hpp"

namespace idsim::cuda {

class RowFetcher;

struct Gallery {
  MatrixView rows;  // memory that the device can read: its own, or pinned on the host
  CodedRows coded;
  const int64_t* groups = nullptr;  // [n] labels on the device, or null
  int64_t first_id = 0;             // id of row 0
  NonFinite* found = nullptr;  // for rows that are not coded: where a scan notes NaN and Inf, by id

  // Where the rows lie out of the device's reach (their codes are not ordered then): who fetches those that a scan needs
  // (cuda/fetch.hpp), and which of its rows is row 0. What it fetched takes turns in `rows`.
  RowFetcher* fetcher = nullptr;
  int64_t first_row = 0;
  const int32_t* places = nullptr;  // [n] number of a row among those fetched, -1: not one of them
  int32_t first_place = 0;
  int32_t places_here = 0;

  IDSIM_HD int64_t count() const { return rows.rows; }
  IDSIM_HD int64_t dim() const { return rows.cols; }

  // May be outside of 0 .. n in a slice.
  IDSIM_HD int64_t row(int64_t slot) const { return coded.row(slot); }

  // Whether the row of a slot is in the memory at this turn, and which row of it that is.
  IDSIM_HD bool there(int64_t slot) const {
    if (places == nullptr) return true;
    const int32_t at = places[slot] - first_place;
    return at >= 0 && at < places_here;
  }
  IDSIM_HD int64_t place(int64_t slot) const {
    return places == nullptr ? row(slot) : places[slot] - first_place;
  }
  IDSIM_HD bool first_turn() const { return first_place == 0; }
};

// Codes and stats from slot `first` on.
inline CodedRows from_slot(CodedRows coded, int64_t dim, int64_t first) {
  const auto advance = [](auto*& column, int64_t by) {
    if (column != nullptr) column += by;
  };
  advance(coded.codes, first * code_bytes(coded.precision, dim));
  advance(coded.scale, first);
  advance(coded.residual, first);
  advance(coded.norm, first);
  advance(coded.u, first);
  advance(coded.v, first);
  advance(coded.w, first);
  advance(coded.order, first);
  return coded;
}

// Slots first .. first + n as a gallery of their own; ids stay as they are.
inline Gallery slice(const Gallery& gallery, int64_t first, int64_t n) {
  Gallery out = gallery;
  if (gallery.fetcher == nullptr) {
    out.rows.data = static_cast<const char*>(gallery.rows.data) + first * gallery.rows.row_stride;
  }
  out.rows.rows = n;
  out.first_row += first;
  out.coded = from_slot(gallery.coded, gallery.dim(), first);
  if (gallery.groups != nullptr) out.groups += first;
  out.first_id += first;
  return out;
}

// Pairs that a question leaves out: a query and its own row, the lower triangle, or pairs of one group.
struct Exclusion {
  bool self = false;      // leave out id == first_query_id + query
  bool triangle = false;  // keep only id > first_query_id + query
  int64_t first_query_id = 0;
  const int64_t* query_groups =
      nullptr;  // [q], on the device; with the gallery's: leave out equal labels

  IDSIM_HD bool drops(int64_t query, const Gallery& gallery, int64_t row) const {
    const int64_t id = gallery.first_id + row;
    if (self && id == first_query_id + query) return true;
    if (triangle && id <= first_query_id + query) return true;
    return query_groups != nullptr && gallery.groups != nullptr &&
           query_groups[query] == gallery.groups[row];
  }
};

}  // namespace idsim::cuda

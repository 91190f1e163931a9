// A gallery as the device's scans read it.
#pragma once

#include "core/bounds.hpp"
#include "core/types.hpp"
#include "cuda/rows.hpp"

namespace idsim::cuda {

struct Gallery {
  MatrixView rows;  // memory that the device can read: its own, or pinned on the host
  CodedRows coded;
  const int64_t* groups = nullptr;  // [n] labels on the device, or null
  int64_t first_id = 0;             // id of row 0
  NonFinite* found = nullptr;  // for rows that are not coded: where a scan notes NaN and Inf, by id

  IDSIM_HD int64_t count() const { return rows.rows; }
  IDSIM_HD int64_t dim() const { return rows.cols; }
};

// Rows first .. first + n as a gallery of their own; ids stay as they are.
inline Gallery slice(const Gallery& gallery, int64_t first, int64_t n) {
  Gallery out = gallery;
  out.rows.data = static_cast<const char*>(gallery.rows.data) + first * gallery.rows.row_stride;
  out.rows.rows = n;
  const auto advance = [](auto*& column, int64_t by) {
    if (column != nullptr) column += by;
  };
  advance(out.coded.codes, first * code_bytes(gallery.coded.precision, gallery.dim()));
  advance(out.coded.scale, first);
  advance(out.coded.residual, first);
  advance(out.coded.norm, first);
  advance(out.coded.u, first);
  advance(out.coded.v, first);
  advance(out.coded.w, first);
  advance(out.groups, first);
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

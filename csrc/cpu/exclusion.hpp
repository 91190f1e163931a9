// Pairs that a question leaves out: a query and its own row, the lower triangle, or pairs of one group.
#pragma once

#include <cstdint>

namespace idsim::cpu {

struct Exclusion {
  bool self = false;      // leave out id == first_query_id + query
  bool triangle = false;  // keep only id > first_query_id + query
  int64_t first_query_id = 0;
  const int64_t* query_groups = nullptr;  // [q]; with the gallery's groups: leave out equal labels

  bool drops(int64_t query, int64_t id, const int64_t* gallery_groups, int64_t gallery_row) const {
    if (self && id == first_query_id + query) return true;
    if (triangle && id <= first_query_id + query) return true;
    return query_groups != nullptr && gallery_groups != nullptr &&
           query_groups[query] == gallery_groups[gallery_row];
  }
  bool any() const { return self || triangle || query_groups != nullptr; }
};

}  // namespace idsim::cpu

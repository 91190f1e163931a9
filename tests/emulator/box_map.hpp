// What an emulated CUtensorMap holds.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace emulator {

struct BoxMap {
  uint64_t mark;  // of maps that cuTensorMapEncodeTiled made
  const char* address;
  uint64_t row_bytes, rows;
  uint64_t stride;  // bytes from row to row
  uint32_t box_row_bytes, box_rows;
  uint32_t element_bytes;
  bool swizzled;  // 16-byte chunks of 128 bytes

  uint32_t box_bytes() const { return box_row_bytes * box_rows; }
};
static_assert(sizeof(BoxMap) <= sizeof(CUtensorMap));

// False where the map was not made by cuTensorMapEncodeTiled.
bool read_map(const CUtensorMap& map, BoxMap* out);

}  // namespace emulator

// Rows of embeddings wherever they lie, read as float32: in memory (any strides, four element types) or
// in an open file, fetched row by row with pread.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "core/types.hpp"
#include "core/widen.hpp"

namespace idsim {

struct RowSource {
  MatrixView view;          // memory; where fd >= 0 only rows, cols, row_stride and dtype count
  int fd = -1;              // a file opened for reading, not owned
  int64_t file_offset = 0;  // of row 0, in bytes; elements of a row are contiguous in a file
};

class FileReadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// True where load_row returns a pointer into the source.
bool rows_are_float32(const RowSource& source);

// Row i as `cols` float32: a pointer into the source where it holds just that, else into `scratch`
// ([cols] floats, followed by room for [cols] float64 in files). float16 and bfloat16 widen exactly;
// float64 is rounded once, to nearest even. Throws FileReadError on a short or failed read.
const float* load_row(const RowSource& source, int64_t i, float* scratch);

// Floats of scratch that load_row may use.
inline int64_t row_scratch(int64_t cols) { return 3 * cols + 16; }

}  // namespace idsim

// Rows of embeddings wherever they lie, read as float32: in memory (any strides, four element types) or
// in an open file, fetched with pread (a mapped file that shrinks would kill the process).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/types.hpp"
#include "core/widen.hpp"

namespace idsim {

// A part of a file that is open for reading. Neither the descriptor nor the name is owned.
struct FilePart {
  int fd = -1;  // -1: no file
  int64_t offset = 0;
  const char* path = "";  // for messages
};

struct RowSource {
  MatrixView view;     // memory; where there is a file only rows, cols, row_stride and dtype count
  FilePart file = {};  // from row 0 on; elements of a row are contiguous in a file
};

class FileReadError : public std::runtime_error {
 public:
  FileReadError(const char* file, int error, const std::string& reason)
      : std::runtime_error(reason), path(file), number(error) {}
  std::string path;
  int number;  // errno, or EIO for a file that ends early
};

// Reads bytes from `at` (counted from the part's offset) on. Throws FileReadError on a short or failed read.
void read_file(const FilePart& file, int64_t at, int64_t bytes, void* out);

// True where load_row returns a pointer into the source.
bool rows_are_float32(const RowSource& source);

// Row i as `cols` float32: a pointer into the source where it holds just that, else into `scratch`
// ([cols] floats, followed by room for [cols] float64 in files). float16 and bfloat16 widen exactly;
// float64 is rounded once, to nearest even. Throws FileReadError on a short or failed read.
const float* load_row(const RowSource& source, int64_t i, float* scratch);

// Asks the system for a row of a file that will be loaded soon, and does not wait: several then come from the
// disk at once.
void expect_row(const RowSource& source, int64_t i);

// Floats of scratch that load_row may use.
inline int64_t row_scratch(int64_t cols) { return 3 * cols + 16; }

}  // namespace idsim

// Errors that cross the library's border. The bindings map them to Python's.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace idsim {

// A row with NaN or Inf where none may be. The bindings name the argument.
class NonFiniteRow : public std::invalid_argument {
 public:
  NonFiniteRow(const std::string& what, int64_t row)
      : std::invalid_argument(what + " row " + std::to_string(row) + " holds NaN or Inf"),
        row_(row) {}
  int64_t row() const { return row_; }

 private:
  int64_t row_;
};

// The CUDA driver, a device or a kernel reported an error, or there is none.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace idsim

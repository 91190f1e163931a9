// Arrays from Python as views: the buffer protocol where the object has it, DLPack otherwise (the versioned
// capsule first). No copy is made; the view is valid as long as the TensorArg lives.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "core/types.hpp"

namespace idsim::bindings {

namespace py = pybind11;

class TensorArg {
 public:
  // name: of the argument, for messages. Accepts float32, float16, bfloat16 and float64 matrices on the
  // CPU; a uint16 buffer is read as bfloat16 bits. Throws TypeError or ValueError.
  TensorArg(const py::object& array, const char* name);

  const MatrixView& view() const { return view_; }

 private:
  void take_buffer(PyObject* array, const char* name);
  void take_dlpack(const py::object& array, const char* name);

  MatrixView view_;
  std::shared_ptr<void> owner_;  // released with the GIL held
};

}  // namespace idsim::bindings

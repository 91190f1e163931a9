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
  enum class Where { cpu, cpu_or_cuda };

  // name: of the argument, for messages. Accepts float32, float16, bfloat16 and float64 matrices, on the CPU or
  // also on a CUDA device; a uint16 buffer is read as bfloat16 bits. stream: of the CUDA work that will read the
  // array, as DLPack numbers it. Throws TypeError or ValueError.
  TensorArg(const py::object& array, const char* name, Where where = Where::cpu,
            const py::object& stream = py::none());

  const MatrixView& view() const { return view_; }
  // The CUDA device that the array lies on, or -1.
  int cuda_device() const { return cuda_device_; }

 private:
  void take_buffer(PyObject* array, const char* name);
  void take_dlpack(const py::object& array, const char* name, Where where,
                   const py::object& stream);
  template <class Managed>
  void take_managed(const py::capsule& capsule, const char* used_name, Managed* managed,
                    const char* name, Where where);

  int cuda_device_ = -1;
  MatrixView view_;
  std::shared_ptr<void> owner_;  // released with the GIL held
};

}  // namespace idsim::bindings

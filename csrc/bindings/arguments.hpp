// What the registered functions share: checked NumPy arguments, metrics by name, interrupts and progress.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>
#include <initializer_list>
#include <optional>
#include <string>

#include "core/precision.hpp"
#include "core/threads.hpp"
#include "core/types.hpp"

namespace idsim::bindings {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
T* output(Array<T>& array, const char* name, std::initializer_list<int64_t> shape) {
  bool fits = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string wanted;
  py::ssize_t axis = 0;
  for (const int64_t size : shape) {
    fits = fits && array.shape(axis++) == size;
    wanted += (wanted.empty() ? "" : ", ") + std::to_string(size);
  }
  if (!fits) throw py::value_error(std::string(name) + " must have shape (" + wanted + ")");
  return array.mutable_data();
}

template <class T>
const T* input(const std::optional<Array<T>>& array, const char* name, int64_t size) {
  if (!array) return nullptr;
  if (array->ndim() != 1 || array->shape(0) != size) {
    throw py::value_error(std::string(name) + " must have shape (" + std::to_string(size) + ",)");
  }
  return array->data();
}

inline Metric metric_by_name(const std::string& name) {
  if (name == "cosine") return Metric::cosine;
  if (name == "dot") return Metric::dot;
  if (name == "l2") return Metric::l2;
  throw py::value_error("metric must be 'cosine', 'dot' or 'l2', not '" + name + "'");
}

inline Precision precision_by_name(const std::string& name) {
  if (name == "auto") return Precision::automatic;
  if (name == "int8") return Precision::int8;
  if (name == "float16") return Precision::float16;
  if (name == "float32") return Precision::float32;
  throw py::value_error("precision must be 'auto', 'int8', 'float16' or 'float32', not '" + name +
                        "'");
}

inline const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::int8:
      return "int8";
    case Precision::float16:
      return "float16";
    case Precision::float32:
      return "float32";
    default:
      return "auto";
  }
}

class Cancelled : public std::exception {};

// Answers Ctrl-C, and calls progress(done, total), which cancels by returning False. The caller holds the
// reference to `progress`, so that the poll can be copied without the GIL.
inline Poll make_poll(py::handle progress, int64_t total) {
  return [progress, total](int64_t done) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (progress.is_none()) return;
    if (progress(done, total).ptr() == Py_False) throw Cancelled();
  };
}

}  // namespace idsim::bindings

#include <pybind11/pybind11.h>

#include "bindings/registers.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Private: the C++ engine of idsim. Use the functions of the package idsim.";
  idsim::bindings::register_errors(m);
  idsim::bindings::register_machine(m);
  idsim::bindings::register_plan(m);
  idsim::bindings::register_prepared(m);
  idsim::bindings::register_scans(m);
  idsim::bindings::register_cuda(m);
  idsim::bindings::register_cuda_array(m);
  idsim::bindings::register_cuda_replay(m);
}

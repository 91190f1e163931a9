// One register function per noun of the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace idsim::bindings {

void register_cuda(pybind11::module_& m);
void register_cuda_array(pybind11::module_& m);
void register_cuda_replay(pybind11::module_& m);
void register_errors(pybind11::module_& m);
void register_machine(pybind11::module_& m);
void register_plan(pybind11::module_& m);
void register_prepared(pybind11::module_& m);
void register_scans(pybind11::module_& m);

}  // namespace idsim::bindings

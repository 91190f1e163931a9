// What this build and this machine offer, and how C++ errors become Python's.
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/registers.hpp"
#include "core/error.hpp"
#include "core/rows.hpp"
#include "core/threads.hpp"
#include "cpu/isa.hpp"
#include "cpu/tail.hpp"
#include "cpu/tile_rate.hpp"
#include "cuda/device.hpp"

namespace idsim::bindings {
namespace {

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const cpu::Kernels* kernels : cpu::available_kernels()) names.emplace_back(kernels->name);
  return names;
}

py::dict build_info() {
  const cuda::BackendStatus cuda = cuda::backend_status();
  py::dict out;
  out["version"] = IDSIM_VERSION;
  out["compiler"] = __VERSION__;
#ifdef NDEBUG
  out["debug"] = false;
#else
  out["debug"] = true;
#endif
  out["cuda_built"] = cuda.built;
  out["cuda_emulated"] = cuda.emulated;
  out["cuda_devices"] = cuda.devices;
  out["cuda_reason"] = cuda.reason;
  return out;
}

}  // namespace

void register_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const NonFiniteRow& e) {
      py::set_error(PyExc_ValueError, e.what());
    } catch (const FileReadError& e) {
      const auto path =
          py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(e.path.c_str()));
      PyErr_SetObject(PyExc_OSError, py::make_tuple(e.number, e.what(), path).ptr());
    } catch (const CudaError& e) {
      py::set_error(py::module_::import("idsim.errors").attr("CudaError"), e.what());
    } catch (const cpu::TooManyPairs& e) {
      py::set_error(PyExc_ValueError, e.what());
    } catch (const Cancelled&) {
      py::set_error(PyExc_KeyboardInterrupt, "cancelled by the progress callback");
    }
  });
}

void register_machine(py::module_& m) {
  m.def("available_isas", &available_isas);
  m.def("active_isa", [] { return std::string(cpu::active_kernels().name); });
  m.def("set_isa", [](const std::string& name) { cpu::set_active_kernels(name); }, py::arg("name"));
  m.def("default_threads", &default_threads);
  m.def("build_info", &build_info);
  m.def(
      "tile_rate", [](int threads) { return cpu::tile_rate(std::max(threads, 1)); },
      py::arg("threads"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace idsim::bindings

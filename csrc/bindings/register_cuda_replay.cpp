// Searches on a CUDA device that are made once and launched many times.
#include <memory>
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/cuda_arguments.hpp"
#include "bindings/registers.hpp"
#include "cuda/replay.hpp"

namespace idsim::bindings {
namespace {

struct CudaReplay {
  CudaReplay(const py::object& queries, const CudaPrepared& prepared, int64_t k, float threshold,
             bool exclude_self, uintptr_t scores, uintptr_t ids, uintptr_t stream)
      : arg(queries, "queries", target_of(prepared.target.device, stream)) {
    const cuda::Matrix matrix = arg.matrix();
    if (!matrix.on_device || matrix.view.cols != prepared.gallery->dim()) {
      throw py::value_error("queries must lie on the device of the index and have " +
                            std::to_string(prepared.gallery->dim()) + " columns");
    }
    cuda::QueryOptions options;
    options.metric = prepared.gallery->metric();
    options.exclude_self = exclude_self;
    const py::gil_scoped_release release;
    replay = std::make_unique<cuda::Replay>(
        matrix, *prepared.gallery, options, k, threshold, reinterpret_cast<float*>(scores),
        reinterpret_cast<int64_t*>(ids), target_of(prepared.target.device, stream));
  }
  CudaArg arg;
  std::unique_ptr<cuda::Replay> replay;
};

}  // namespace

void register_cuda_replay(py::module_& m) {
  py::class_<CudaReplay>(m, "CudaReplay")
      .def(py::init<const py::object&, const CudaPrepared&, int64_t, float, bool, uintptr_t,
                    uintptr_t, uintptr_t>(),
           py::arg("queries"), py::arg("prepared"), py::arg("k"), py::arg("threshold"),
           py::arg("exclude_self"), py::arg("scores"), py::arg("ids"), py::arg("stream"),
           py::keep_alive<1, 3>())
      .def(
          "launch",
          [](CudaReplay& r, uintptr_t stream) {
            r.replay->launch(reinterpret_cast<void*>(stream));
          },
          py::arg("stream"))
      .def(
          "nonfinite_query",
          [](const CudaReplay& r, uintptr_t stream) {
            const py::gil_scoped_release release;
            return r.replay->nonfinite_query(reinterpret_cast<void*>(stream));
          },
          py::arg("stream"));
}

}  // namespace idsim::bindings

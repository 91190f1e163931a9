// What the functions for CUDA devices share: where work goes, arrays that it reads, and prepared galleries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/tensor_arg.hpp"
#include "cuda/search.hpp"

namespace idsim::bindings {

// stream: the number of a cudaStream_t, 0 for the legacy default stream.
inline cuda::Target target_of(int device, uintptr_t stream) {
  return {device, reinterpret_cast<void*>(stream)};
}

// An array that work on `target` will read. DLPack numbers the legacy default stream 1.
class CudaArg {
 public:
  CudaArg(const py::object& array, const char* name, const cuda::Target& target)
      : arg_(array, name, TensorArg::Where::cpu_or_cuda, stream_number(array, target)) {
    if (arg_.cuda_device() >= 0 && arg_.cuda_device() != target.device) {
      throw py::value_error(std::string(name) + " lies on CUDA device " +
                            std::to_string(arg_.cuda_device()) + ", the work is on device " +
                            std::to_string(target.device));
    }
  }
  cuda::Matrix matrix() const { return {arg_.view(), arg_.cuda_device() >= 0}; }

 private:
  static py::object stream_number(const py::object& array, const cuda::Target& target) {
    if (!py::hasattr(array, "__dlpack_device__")) return py::none();
    const py::tuple device = array.attr("__dlpack_device__")();
    const auto type = device[0].cast<int32_t>();
    if (type != kDLCUDA && type != kDLCUDAManaged) return py::none();
    const auto stream = reinterpret_cast<uintptr_t>(target.stream);
    return py::int_(stream == 0 ? uintptr_t{1} : stream);
  }

  TensorArg arg_;
};

// A gallery on a device, and the array that it may point into.
struct CudaPrepared {
  CudaPrepared(const py::object& rows, const cuda::Preparation& how, const cuda::Target& to)
      : target(to), arg(rows, "gallery", target) {
    const py::gil_scoped_release release;
    gallery.emplace(arg.matrix(), how, target);
  }
  cuda::Target target;
  CudaArg arg;
  std::optional<cuda::PreparedGallery> gallery;
};

}  // namespace idsim::bindings

#include "bindings/tensor_arg.hpp"

#include <cstdint>
#include <cstring>
#include <string>

#include <pybind11/numpy.h>

#include "bindings/dlpack.hpp"
#include "core/codes.hpp"

namespace idsim::bindings {
namespace {

[[noreturn]] void refuse_type(const char* name, const std::string& got) {
  throw py::type_error(std::string(name) + " must be float32, float16, bfloat16 or float64, not " +
                       got);
}

void check_rank(const char* name, int64_t rank) {
  if (rank == 2) return;
  throw py::value_error(std::string(name) + " must have 2 dimensions [rows, d], not " +
                        std::to_string(rank));
}

void check_dim(const char* name, const MatrixView& view) {
  if (view.cols >= 1 && view.cols <= kMaxDim) return;
  throw py::value_error(std::string(name) + " must have 1 to " + std::to_string(kMaxDim) +
                        " columns, not " + std::to_string(view.cols));
}

DType buffer_dtype(const char* format, const char* name) {
  const std::string f = format != nullptr ? format : "B";
  if (f == "f" || f == "<f" || f == "=f") return DType::f32;
  if (f == "d" || f == "<d" || f == "=d") return DType::f64;
  if (f == "e" || f == "<e" || f == "=e") return DType::f16;
  if (f == "H" || f == "<H" || f == "=H") return DType::bf16;
  refuse_type(name, "buffer format '" + f + "'");
}

DType dlpack_dtype(const DLDataType& type, const char* name) {
  if (type.lanes == 1 && type.code == kDLFloat) {
    if (type.bits == 32) return DType::f32;
    if (type.bits == 64) return DType::f64;
    if (type.bits == 16) return DType::f16;
  }
  if (type.lanes == 1 && type.code == kDLBfloat && type.bits == 16) return DType::bf16;
  refuse_type(name, "DLPack type code " + std::to_string(type.code) + " with " +
                        std::to_string(type.bits) + " bits");
}

int64_t type_bytes(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

MatrixView dlpack_view(const DLTensor& tensor, const char* name) {
  check_rank(name, tensor.ndim);
  MatrixView view;
  view.dtype = dlpack_dtype(tensor.dtype, name);
  const int64_t bytes = type_bytes(view.dtype);
  view.rows = tensor.shape[0];
  view.cols = tensor.shape[1];
  view.row_stride = (tensor.strides != nullptr ? tensor.strides[0] : view.cols) * bytes;
  view.col_stride = (tensor.strides != nullptr ? tensor.strides[1] : 1) * bytes;
  view.data = static_cast<const char*>(tensor.data) + tensor.byte_offset;
  return view;
}

// The CUDA device of a tensor, -1 for the CPU's memory.
int checked_device(const DLDevice& device, const char* name, TensorArg::Where where) {
  if (device.device_type == kDLCPU || device.device_type == kDLCUDAHost) return -1;
  if (where == TensorArg::Where::cpu_or_cuda &&
      (device.device_type == kDLCUDA || device.device_type == kDLCUDAManaged)) {
    return device.device_id;
  }
  throw py::value_error(std::string(name) +
                        " lies on a device that cannot be read here; move it to the CPU first");
}

template <class Managed>
std::shared_ptr<void> take_capsule(const py::capsule& capsule, const char* used_name,
                                   Managed* managed) {
  PyCapsule_SetName(capsule.ptr(), used_name);
  return {managed, [](void* p) {
            const py::gil_scoped_acquire gil;
            auto* m = static_cast<Managed*>(p);
            if (m->deleter != nullptr) m->deleter(m);
          }};
}

py::capsule dlpack_capsule(const py::object& array, const py::object& stream) {
  py::dict options;
  if (!stream.is_none()) options["stream"] = stream;
  const py::object dlpack = array.attr("__dlpack__");
  try {
    return dlpack(py::arg("max_version") = py::make_tuple(1, 0), **options);
  } catch (py::error_already_set& error) {
    // Libraries from before DLPack 1.0 do not know the keyword.
    if (!error.matches(PyExc_TypeError)) throw;
    return dlpack(**options);
  }
}

}  // namespace

TensorArg::TensorArg(const py::object& array, const char* name, Where where,
                     const py::object& stream) {
  // Only for NumPy's own arrays does uint16 stand for bfloat16 bits (idsim.arrays makes them).
  const bool numpy = py::isinstance<py::array>(array);
  if (!numpy && py::hasattr(array, "__dlpack__")) {
    take_dlpack(array, name, where, stream);
  } else if (PyObject_CheckBuffer(array.ptr()) != 0) {
    take_buffer(array.ptr(), name);
  } else {
    throw py::type_error(std::string(name) +
                         " must be an array with the buffer protocol or DLPack, not " +
                         std::string(py::str(py::type::of(array).attr("__name__"))));
  }
  check_dim(name, view_);
}

void TensorArg::take_buffer(PyObject* array, const char* name) {
  auto* buffer = new Py_buffer;
  if (PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
    delete buffer;
    throw py::error_already_set();
  }
  owner_ = std::shared_ptr<void>(buffer, [](void* p) {
    const py::gil_scoped_acquire gil;
    auto* b = static_cast<Py_buffer*>(p);
    PyBuffer_Release(b);
    delete b;
  });
  check_rank(name, buffer->ndim);
  view_ = {buffer->buf,        buffer->shape[0],   buffer->shape[1],
           buffer->strides[0], buffer->strides[1], buffer_dtype(buffer->format, name)};
}

template <class Managed>
void TensorArg::take_managed(const py::capsule& capsule, const char* used_name, Managed* managed,
                             const char* name, Where where) {
  owner_ = take_capsule(capsule, used_name, managed);
  cuda_device_ = checked_device(managed->dl_tensor.device, name, where);
  view_ = dlpack_view(managed->dl_tensor, name);
}

void TensorArg::take_dlpack(const py::object& array, const char* name, Where where,
                            const py::object& stream) {
  const py::capsule capsule = dlpack_capsule(array, stream);
  const char* label = capsule.name();
  if (label != nullptr && std::strcmp(label, "dltensor_versioned") == 0) {
    auto* managed = capsule.get_pointer<DLManagedTensorVersioned>();
    if (managed->version.major != 1) {
      throw py::value_error(std::string(name) + " uses DLPack version " +
                            std::to_string(managed->version.major) + ", which is not known here");
    }
    take_managed(capsule, "used_dltensor_versioned", managed, name, where);
  } else if (label != nullptr && std::strcmp(label, "dltensor") == 0) {
    take_managed(capsule, "used_dltensor", capsule.get_pointer<DLManagedTensor>(), name, where);
  } else {
    throw py::type_error(std::string(name) + ": __dlpack__ returned no DLPack capsule");
  }
}

}  // namespace idsim::bindings

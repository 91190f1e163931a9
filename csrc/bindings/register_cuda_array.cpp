// Arrays on a CUDA device that idsim allocates and hands to another library by DLPack.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/cuda_arguments.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/registers.hpp"
#include "bindings/tensor_arg.hpp"
#include "cuda/buffer.hpp"

namespace idsim::bindings {
namespace {

struct ElementType {
  const char* name;
  const char* typestr;  // of __cuda_array_interface__; bfloat16 has none
  DLDataType type;
};
constexpr ElementType kTypes[] = {{"float32", "<f4", {kDLFloat, 32, 1}},
                                  {"float16", "<f2", {kDLFloat, 16, 1}},
                                  {"bfloat16", nullptr, {kDLBfloat, 16, 1}},
                                  {"float64", "<f8", {kDLFloat, 64, 1}},
                                  {"int64", "<i8", {kDLInt, 64, 1}}};

const ElementType& type_by_name(const std::string& name) {
  for (const ElementType& type : kTypes) {
    if (name == type.name) return type;
  }
  throw py::value_error("dtype must be float32, float16, bfloat16, float64 or int64, not '" + name +
                        "'");
}

const char* dtype_name(DType type) {
  switch (type) {
    case DType::f32:
      return "float32";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "bfloat16";
    default:
      return "float64";
  }
}

// A matrix, dense by rows. Slices share the memory.
struct CudaArray {
  std::shared_ptr<cuda::Buffer> buffer;
  const ElementType* type;
  int64_t rows, cols;
  int64_t offset = 0;  // bytes

  int64_t row_bytes() const { return cols * type->type.bits / 8; }
  char* data() const { return static_cast<char*>(buffer->data()) + offset; }
  int device() const { return buffer->target().device; }
};

std::unique_ptr<CudaArray> make_array(const std::pair<int64_t, int64_t>& shape,
                                      const std::string& dtype, int device, uintptr_t stream) {
  const ElementType& type = type_by_name(dtype);
  auto out = std::make_unique<CudaArray>(CudaArray{nullptr, &type, shape.first, shape.second});
  const py::gil_scoped_release release;
  out->buffer =
      std::make_shared<cuda::Buffer>(out->rows * out->row_bytes(), target_of(device, stream));
  return out;
}

// source_stream: of the device that the rows lie on; what makes them is queued there.
std::unique_ptr<CudaArray> copy_of(const py::object& rows, int device, uintptr_t stream,
                                   uintptr_t source_stream) {
  const TensorArg arg(rows, "rows", TensorArg::Where::cpu_or_cuda,
                      py::int_(source_stream == 0 ? uintptr_t{1} : source_stream));
  const MatrixView& view = arg.view();
  const ElementType& type = type_by_name(dtype_name(view.dtype));
  auto out = std::make_unique<CudaArray>(CudaArray{nullptr, &type, view.rows, view.cols});
  MatrixView dense = view;
  dense.row_stride = out->row_bytes();
  if (arg.cuda_device() < 0 || view.col_stride != type.type.bits / 8 ||
      (view.rows > 1 && view.row_stride != dense.row_stride)) {
    throw py::value_error(
        "rows that another device is to work on must be contiguous; make them so first");
  }
  const py::gil_scoped_release release;
  out->buffer = std::make_shared<cuda::Buffer>(dense, target_of(arg.cuda_device(), source_stream),
                                               target_of(device, stream));
  return out;
}

CudaArray slice_of(const CudaArray& array, const py::slice& slice) {
  size_t start = 0, stop = 0, step = 0, length = 0;
  if (!slice.compute(static_cast<size_t>(array.rows), &start, &stop, &step, &length)) {
    throw py::error_already_set();
  }
  if (step != 1) throw py::value_error("slices must have step 1");
  CudaArray out = array;
  out.rows = static_cast<int64_t>(length);
  out.offset += static_cast<int64_t>(start) * array.row_bytes();
  return out;
}

py::dict array_interface(const CudaArray& array) {
  if (array.type->typestr == nullptr) {
    throw py::attribute_error("bfloat16 has no __cuda_array_interface__");
  }
  py::dict out;
  out["shape"] = py::make_tuple(array.rows, array.cols);
  out["typestr"] = array.type->typestr;
  out["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(array.data()), false);
  out["strides"] = py::none();
  out["version"] = 3;
  return out;
}

// What a consumer holds. Shape and strides lie beside the tensor that points to them.
template <class Managed>
struct Exported {
  explicit Exported(const CudaArray& from) : array(from), shape{from.rows, from.cols} {
    managed.manager_ctx = this;
    managed.deleter = [](Managed* self) { delete static_cast<Exported*>(self->manager_ctx); };
    managed.dl_tensor = {
        array.data(), {kDLCUDA, array.device()}, 2, array.type->type, shape, strides, 0};
    strides[0] = array.cols;
  }
  CudaArray array;
  int64_t shape[2];
  int64_t strides[2] = {0, 1};
  Managed managed{};
};

template <class Managed>
py::capsule capsule_of(const CudaArray& array, const char* name) {
  auto exported = std::make_unique<Exported<Managed>>(array);
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    exported->managed.version = {1, 0};
  }
  // A consumer that takes the tensor renames the capsule.
  PyObject* capsule = PyCapsule_New(&exported->managed, name, [](PyObject* self) {
    const char* label = PyCapsule_GetName(self);
    if (label == nullptr || std::string(label).rfind("used_", 0) == 0) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(self, label));
    managed->deleter(managed);
  });
  if (capsule == nullptr) throw py::error_already_set();
  exported.release();
  return py::reinterpret_steal<py::capsule>(capsule);
}

py::capsule export_array(const CudaArray& array, const py::object& stream,
                         const std::optional<std::pair<int, int>>& max_version,
                         const std::optional<std::pair<int, int>>& dl_device,
                         const std::optional<bool>& copy) {
  if (copy.value_or(false) ||
      (dl_device && *dl_device != std::pair<int, int>{kDLCUDA, array.device()})) {
    throw py::buffer_error("the array is exported where it lies, without a copy");
  }
  // The protocol's numbers: none or 1, the legacy default stream; -1, no need to wait; 0 is not allowed.
  const auto number = stream.is_none() ? 1 : stream.cast<int64_t>();
  if (number == 0 || number < -1) {
    throw py::value_error("stream must be None, -1, 1, 2 or a handle, not " +
                          std::to_string(number));
  }
  if (number != -1) array.buffer->hand_to(reinterpret_cast<void*>(number == 1 ? 0 : number));
  if (max_version && max_version->first >= 1) {
    return capsule_of<DLManagedTensorVersioned>(array, "dltensor_versioned");
  }
  return capsule_of<DLManagedTensor>(array, "dltensor");
}

void copy_to_device(const py::buffer& from, uintptr_t to, int device, uintptr_t stream) {
  const py::buffer_info info = from.request();
  const py::gil_scoped_release release;
  cuda::copy_to_device(info.ptr, info.size * info.itemsize, reinterpret_cast<void*>(to),
                       target_of(device, stream));
}

}  // namespace

void register_cuda_array(py::module_& m) {
  py::class_<CudaArray>(m, "CudaArray")
      .def(py::init(&make_array), py::arg("shape"), py::arg("dtype"), py::arg("device"),
           py::arg("stream"))
      .def_static("copy_of", &copy_of, py::arg("rows"), py::arg("device"), py::arg("stream"),
                  py::arg("source_stream"))
      .def_property_readonly("shape",
                             [](const CudaArray& a) { return py::make_tuple(a.rows, a.cols); })
      .def_property_readonly("dtype", [](const CudaArray& a) { return a.type->name; })
      .def_property_readonly("nbytes", [](const CudaArray& a) { return a.rows * a.row_bytes(); })
      .def("__getitem__", &slice_of)
      .def_property_readonly("__cuda_array_interface__", &array_interface)
      .def("__dlpack_device__",
           [](const CudaArray& a) { return py::make_tuple(kDLCUDA, a.device()); })
      .def("__dlpack__", &export_array, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none());
  m.def("cuda_copy_to_device", &copy_to_device, py::arg("array"), py::arg("to"), py::arg("device"),
        py::arg("stream"));
}

}  // namespace idsim::bindings

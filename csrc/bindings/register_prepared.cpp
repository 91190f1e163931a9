// Preparation of galleries, and unit rows.
#include <memory>
#include <utility>

#include "bindings/prepared.hpp"
#include "bindings/registers.hpp"
#include "cpu/isa.hpp"
#include "cpu/prepare.hpp"

namespace idsim::bindings {

Prepared::Prepared(RowSource rows, std::optional<TensorArg> owner, Array<uint8_t> codes,
                   Array<float> scale, Array<float> residual, Array<double> norm, Metric metric)
    : owner_(std::move(owner)),
      codes_(std::move(codes)),
      scale_(std::move(scale)),
      residual_(std::move(residual)),
      norm_(std::move(norm)),
      metric_(metric) {
  const int64_t n = rows.view.rows;
  const int64_t d_pad = padded_dim(rows.view.cols);
  if (codes_.ndim() != 2 || codes_.shape(0) != n || codes_.shape(1) != d_pad) {
    throw py::value_error("codes must have shape (" + std::to_string(n) + ", " +
                          std::to_string(d_pad) + ")");
  }
  gallery_.rows = rows;
  gallery_.codes = codes_.data();
  gallery_.scale = input<float>(scale_, "scale", n);
  gallery_.residual = input<float>(residual_, "residual", n);
  gallery_.norm = input<double>(norm_, "norm", n);
  const py::gil_scoped_release release;
  terms_ = cpu::make_terms(metric, gallery_.scale, gallery_.residual, gallery_.norm, n);
}

int64_t Prepared::add_nibbles(int threads) {
  const cpu::Kernels& kernels = cpu::active_kernels();
  const int64_t d_pad = padded_dim(dim());
  if (kernels.nibble_row == nullptr || d_pad > kMaxNibbleDim) return 0;
  const cpu::ScanOptions options{&kernels, std::max(threads, 1), false,
                                 make_poll(py::none(), count())};
  const py::gil_scoped_release release;
  nibbles_ = cpu::make_nibbles(gallery(0), metric_, options);
  const auto floats =
      nibbles_->terms.u.size() + nibbles_->terms.v.size() + nibbles_->terms.w.size();
  return count() * nibble_bytes(d_pad) + static_cast<int64_t>(floats * sizeof(float));
}

cpu::Gallery Prepared::gallery(int64_t first_id) const {
  cpu::Gallery out = gallery_;
  out.terms = &terms_;
  if (nibbles_) out.nibbles = &*nibbles_;
  out.first_id = first_id;
  return out;
}

namespace {

DType dtype_by_name(const std::string& name) {
  if (name == "float32") return DType::f32;
  if (name == "float16") return DType::f16;
  if (name == "bfloat16") return DType::bf16;
  if (name == "float64") return DType::f64;
  throw py::value_error("dtype must be float32, float16, bfloat16 or float64, not '" + name + "'");
}

cpu::ScanOptions options(int threads, bool skip_nonfinite, const py::object& progress,
                         int64_t total) {
  return {&cpu::active_kernels(), std::max(threads, 1), skip_nonfinite, make_poll(progress, total)};
}

int64_t prepare(const py::object& rows, Array<uint8_t> codes, Array<float> scale,
                Array<float> residual, Array<double> norm, int threads, bool skip_nonfinite,
                const py::object& progress) {
  const TensorArg arg(rows, "gallery");
  const int64_t n = arg.view().rows;
  const cpu::PreparedArrays out{output(codes, "codes", {n, padded_dim(arg.view().cols)}),
                                output(scale, "scale", {n}), output(residual, "residual", {n}),
                                output(norm, "norm", {n})};
  const auto opts = options(threads, skip_nonfinite, progress, n);
  const py::gil_scoped_release release;
  return cpu::prepare({arg.view()}, out, opts).skipped_rows;
}

void normalize(const py::object& rows, Array<float> out, int threads) {
  const TensorArg arg(rows, "x");
  float* data = output(out, "out", {arg.view().rows, arg.view().cols});
  const auto opts = options(threads, false, py::none(), arg.view().rows);
  const py::gil_scoped_release release;
  cpu::normalize({arg.view()}, data, opts);
}

}  // namespace

void register_prepared(py::module_& m) {
  py::class_<Prepared>(m, "Prepared")
      .def(py::init([](const py::object& rows, Array<uint8_t> codes, Array<float> scale,
                       Array<float> residual, Array<double> norm, const std::string& metric) {
             TensorArg arg(rows, "gallery");
             const RowSource source{arg.view()};
             return std::make_unique<Prepared>(source, std::move(arg), std::move(codes),
                                               std::move(scale), std::move(residual),
                                               std::move(norm), metric_by_name(metric));
           }),
           py::arg("rows"), py::arg("codes").noconvert(), py::arg("scale").noconvert(),
           py::arg("residual").noconvert(), py::arg("norm").noconvert(), py::arg("metric"))
      .def_static(
          "from_file",
          [](int fd, int64_t offset, int64_t rows, int64_t dim, const std::string& dtype,
             Array<uint8_t> codes, Array<float> scale, Array<float> residual, Array<double> norm,
             const std::string& metric) {
            RowSource source;
            source.view.rows = rows;
            source.view.cols = dim;
            source.view.dtype = dtype_by_name(dtype);
            source.view.row_stride = dim * element_bytes(source.view.dtype);
            source.fd = fd;
            source.file_offset = offset;
            return std::make_unique<Prepared>(source, std::nullopt, std::move(codes),
                                              std::move(scale), std::move(residual),
                                              std::move(norm), metric_by_name(metric));
          },
          py::arg("fd"), py::arg("offset"), py::arg("rows"), py::arg("dim"), py::arg("dtype"),
          py::arg("codes").noconvert(), py::arg("scale").noconvert(),
          py::arg("residual").noconvert(), py::arg("norm").noconvert(), py::arg("metric"))
      .def("add_nibbles", &Prepared::add_nibbles, py::arg("threads"))
      .def_property_readonly("rows", &Prepared::count)
      .def_property_readonly("dim", &Prepared::dim);
  m.def("padded_dim", &padded_dim, py::arg("dim"));
  m.def("prepare", &prepare, py::arg("rows"), py::arg("codes").noconvert(),
        py::arg("scale").noconvert(), py::arg("residual").noconvert(), py::arg("norm").noconvert(),
        py::arg("threads"), py::arg("skip_nonfinite"), py::arg("progress"));
  m.def("normalize", &normalize, py::arg("rows"), py::arg("out").noconvert(), py::arg("threads"));
}

}  // namespace idsim::bindings

// Prepared galleries, galleries in files, and unit rows.
#include <memory>
#include <tuple>
#include <utility>

#include "bindings/prepared.hpp"
#include "bindings/registers.hpp"
#include "cpu/isa.hpp"
#include "cpu/prepare.hpp"

namespace idsim::bindings {

Prepared::Prepared(TensorArg rows, Array<uint8_t> codes, Array<float> scale, Array<float> residual,
                   Array<double> norm, Metric metric)
    : owner_(std::move(rows)),
      codes_(std::move(codes)),
      scale_(std::move(scale)),
      residual_(std::move(residual)),
      norm_(std::move(norm)),
      metric_(metric) {
  const int64_t n = owner_.view().rows;
  const int64_t d_pad = padded_dim(owner_.view().cols);
  if (codes_.ndim() != 2 || codes_.shape(0) != n || codes_.shape(1) != d_pad) {
    throw py::value_error("codes must have shape (" + std::to_string(n) + ", " +
                          std::to_string(d_pad) + ")");
  }
  gallery_.rows.view = owner_.view();
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

cpu::Gallery Prepared::range(int64_t start, int64_t stop, int64_t first_id) const {
  if (start < 0 || start > stop || stop > count()) {
    throw py::value_error("rows " + std::to_string(start) + " to " + std::to_string(stop) +
                          " are not within the " + std::to_string(count()) + " that are prepared");
  }
  cpu::Gallery out = gallery_;
  MatrixView& view = out.rows.view;
  view.data = static_cast<const char*>(view.data) + start * view.row_stride;
  view.rows = stop - start;
  out.codes += start * padded_dim(dim());
  out.scale += start;
  out.residual += start;
  out.norm += start;
  out.first_id = first_id;
  return out;
}

FileGallery::FileGallery(std::vector<Part> parts, int64_t rows, int64_t dim, DType dtype)
    : parts_(std::move(parts)) {
  if (parts_.size() != 1 && parts_.size() != 5) {
    throw py::value_error("files must be one or five, not " + std::to_string(parts_.size()));
  }
  const auto part = [&](size_t i) -> FilePart {
    return {parts_[i].fd, parts_[i].offset, parts_[i].path.c_str()};
  };
  MatrixView& view = gallery_.rows.view;
  view.rows = rows;
  view.cols = dim;
  view.dtype = dtype;
  view.col_stride = element_bytes(dtype);
  view.row_stride = dim * view.col_stride;
  gallery_.rows.file = part(0);
  if (parts_.size() == 1) return;
  codes_ = {part(1), part(2), part(3), part(4)};
  gallery_.code_files = &codes_;
}

cpu::Gallery FileGallery::gallery(int64_t first_id) const {
  cpu::Gallery out = gallery_;
  out.first_id = first_id;
  return out;
}

std::unique_ptr<FileGallery> FileGallery::slice(int64_t first, int64_t rows) const {
  const MatrixView& view = gallery_.rows.view;
  if (first < 0 || rows < 0 || first > view.rows - rows) {
    throw py::value_error("rows " + std::to_string(first) + " to " + std::to_string(first + rows) +
                          " are not within the " + std::to_string(view.rows) + " of the file");
  }
  // Bytes of a row: vectors, codes, scales, residuals, norms.
  const int64_t row_bytes[] = {view.row_stride, padded_dim(view.cols), sizeof(float), sizeof(float),
                               sizeof(double)};
  std::vector<Part> parts = parts_;
  for (size_t i = 0; i < parts.size(); ++i) parts[i].offset += first * row_bytes[i];
  return std::make_unique<FileGallery>(std::move(parts), rows, view.cols, view.dtype);
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
             return std::make_unique<Prepared>(TensorArg(rows, "gallery"), std::move(codes),
                                               std::move(scale), std::move(residual),
                                               std::move(norm), metric_by_name(metric));
           }),
           py::arg("rows"), py::arg("codes").noconvert(), py::arg("scale").noconvert(),
           py::arg("residual").noconvert(), py::arg("norm").noconvert(), py::arg("metric"))
      .def("add_nibbles", &Prepared::add_nibbles, py::arg("threads"))
      .def_property_readonly("rows", &Prepared::count)
      .def_property_readonly("dim", &Prepared::dim);
  py::class_<FileGallery>(m, "FileGallery")
      .def(py::init([](const std::vector<std::tuple<int, int64_t, py::bytes>>& files, int64_t rows,
                       int64_t dim, const std::string& dtype) {
             std::vector<FileGallery::Part> parts;
             for (const auto& [fd, offset, path] : files) parts.push_back({fd, offset, path});
             return std::make_unique<FileGallery>(std::move(parts), rows, dim,
                                                  dtype_by_name(dtype));
           }),
           py::arg("files"), py::arg("rows"), py::arg("dim"), py::arg("dtype"))
      .def_property_readonly("rows", &FileGallery::rows)
      .def("slice", &FileGallery::slice, py::arg("first"), py::arg("rows"));
  m.def("padded_dim", &padded_dim, py::arg("dim"));
  m.def("prepare", &prepare, py::arg("rows"), py::arg("codes").noconvert(),
        py::arg("scale").noconvert(), py::arg("residual").noconvert(), py::arg("norm").noconvert(),
        py::arg("threads"), py::arg("skip_nonfinite"), py::arg("progress"));
  m.def("normalize", &normalize, py::arg("rows"), py::arg("out").noconvert(), py::arg("threads"));
}

}  // namespace idsim::bindings

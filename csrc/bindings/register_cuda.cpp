// Searches on a CUDA device. In builds without the backend the classes are there and raise CudaError.
#include <limits>
#include <optional>
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/registers.hpp"
#include "bindings/tensor_arg.hpp"
#include "cuda/search.hpp"

namespace idsim::bindings {
namespace {

using Groups = std::optional<Array<int64_t>>;

// stream: the number of a cudaStream_t, 0 for the legacy default stream.
cuda::Target target_of(int device, uintptr_t stream) {
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
  CudaPrepared(const py::object& rows, const std::string& metric, bool skip_nonfinite, int device,
               uintptr_t stream)
      : target(target_of(device, stream)), arg(rows, "gallery", target) {
    const Metric by = metric_by_name(metric);
    const py::gil_scoped_release release;
    gallery.emplace(arg.matrix(), by, skip_nonfinite, target);
  }
  cuda::Target target;
  CudaArg arg;
  std::optional<cuda::PreparedGallery> gallery;
};

void check_feed(const cuda::TopKSearch& scan, int64_t dim, int64_t first_id, int64_t rows) {
  if (dim != scan.dim()) {
    throw py::value_error("gallery must have " + std::to_string(scan.dim()) +
                          " columns like queries, not " + std::to_string(dim));
  }
  if (first_id < 0 || first_id > std::numeric_limits<int64_t>::max() - rows) {
    throw py::value_error("first_id must be 0 or more and leave room for the rows' ids, not " +
                          std::to_string(first_id));
  }
}

struct CudaTopKScan {
  CudaTopKScan(const py::object& queries, const std::string& metric, int64_t k, float threshold,
               bool exclude_self, int64_t first_query_id, const Groups& query_groups, int device,
               uintptr_t stream)
      : target(target_of(device, stream)) {
    const CudaArg arg(queries, "queries", target);
    cuda::SearchOptions options;
    options.metric = metric_by_name(metric);
    options.k = k;
    options.threshold = threshold;
    options.exclude_self = exclude_self;
    options.first_query_id = first_query_id;
    options.query_groups = input(query_groups, "query_groups", arg.matrix().view.rows);
    const py::gil_scoped_release release;
    search.emplace(arg.matrix(), options, target);
  }

  void feed(const py::object& rows, int64_t first_id, const Groups& groups, bool skip_nonfinite,
            int64_t budget) {
    const CudaArg arg(rows, "gallery", target);
    const cuda::Matrix matrix = arg.matrix();
    check_feed(*search, matrix.view.cols, first_id, matrix.view.rows);
    const int64_t* labels = input(groups, "groups", matrix.view.rows);
    const py::gil_scoped_release release;
    search->feed(matrix, first_id, labels, skip_nonfinite, budget);
  }

  void feed_prepared(const CudaPrepared& prepared, int64_t first_id, const Groups& groups) {
    const cuda::PreparedGallery& gallery = *prepared.gallery;
    if (gallery.metric() != search->metric()) {
      throw py::value_error("the gallery was prepared for another metric");
    }
    if (gallery.target().device != target.device) {
      throw py::value_error("the gallery was prepared on another device");
    }
    check_feed(*search, gallery.dim(), first_id, gallery.count());
    const int64_t* labels = input(groups, "groups", gallery.count());
    const py::gil_scoped_release release;
    search->feed(gallery, first_id, labels);
  }

  cuda::Target target;
  std::optional<cuda::TopKSearch> search;
};

py::dict certificate(const CudaTopKScan& scan) {
  const cuda::SearchCertificate c = scan.search->certificate();
  Array<float> reach(static_cast<py::ssize_t>(scan.search->count()));
  scan.search->reach(reach.mutable_data());
  py::dict out;
  out["rows_scanned"] = c.rows_scanned;
  out["pairs"] = c.pairs;
  out["candidates"] = c.candidates;
  out["rescored"] = c.rescored;
  out["skipped_rows"] = c.skipped_rows;
  out["reach"] = reach;
  return out;
}

void register_topk(py::module_& m) {
  using Scan = CudaTopKScan;
  py::class_<Scan>(m, "CudaTopKScan")
      .def(py::init<const py::object&, const std::string&, int64_t, float, bool, int64_t,
                    const Groups&, int, uintptr_t>(),
           py::arg("queries"), py::arg("metric"), py::arg("k"), py::arg("threshold"),
           py::arg("exclude_self"), py::arg("first_query_id"), py::arg("query_groups"),
           py::arg("device"), py::arg("stream"))
      .def("feed", &Scan::feed, py::arg("rows"), py::arg("first_id"), py::arg("groups"),
           py::arg("skip_nonfinite"), py::arg("budget"))
      .def("feed_prepared", &Scan::feed_prepared, py::arg("prepared"), py::arg("first_id"),
           py::arg("groups"))
      .def(
          "finish",
          [](Scan& scan, Array<float> scores, Array<int64_t> ids) {
            cuda::TopKSearch& search = *scan.search;
            float* score_data = output(scores, "scores", {search.count(), search.k()});
            int64_t* id_data = output(ids, "ids", {search.count(), search.k()});
            const py::gil_scoped_release release;
            search.finish(score_data, id_data, false);
          },
          py::arg("scores").noconvert(), py::arg("ids").noconvert())
      .def(
          "finish_on_device",
          [](Scan& scan, uintptr_t scores, uintptr_t ids) {
            const py::gil_scoped_release release;
            scan.search->finish(reinterpret_cast<float*>(scores), reinterpret_cast<int64_t*>(ids),
                                true);
          },
          py::arg("scores"), py::arg("ids"))
      .def("certificate", &certificate)
      .def_static("bytes_per_query", &cuda::TopKSearch::bytes_per_query, py::arg("dim"),
                  py::arg("k"));
}

}  // namespace

void register_cuda(py::module_& m) {
  py::class_<CudaPrepared>(m, "CudaPrepared")
      .def(py::init<const py::object&, const std::string&, bool, int, uintptr_t>(), py::arg("rows"),
           py::arg("metric"), py::arg("skip_nonfinite"), py::arg("device"), py::arg("stream"))
      .def_property_readonly("rows", [](const CudaPrepared& p) { return p.gallery->count(); })
      .def_property_readonly("dim", [](const CudaPrepared& p) { return p.gallery->dim(); })
      .def_property_readonly("device", [](const CudaPrepared& p) { return p.target.device; })
      .def_property_readonly("skipped_rows",
                             [](const CudaPrepared& p) { return p.gallery->skipped_rows(); })
      .def_property_readonly("code_bytes",
                             [](const CudaPrepared& p) { return p.gallery->code_bytes(); })
      .def_property_readonly("row_bytes",
                             [](const CudaPrepared& p) { return p.gallery->row_bytes(); });
  register_topk(m);
}

}  // namespace idsim::bindings

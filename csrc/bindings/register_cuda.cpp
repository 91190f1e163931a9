// Searches on a CUDA device. In builds without the backend the classes are there and raise CudaError.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/cuda_arguments.hpp"
#include "bindings/prepared.hpp"
#include "bindings/registers.hpp"
#include "cuda/search.hpp"

namespace idsim::bindings {
namespace {

using Groups = std::optional<Array<int64_t>>;

template <class Search>
struct CudaScan {
  cuda::Target target;
  int64_t budget = 0;  // bytes of the device for parts of a gallery
  std::optional<Search> search;
};

template <class Search>
void check_feed(const CudaScan<Search>& scan, int64_t dim, int64_t first_id, int64_t rows) {
  if (dim != scan.search->dim()) {
    throw py::value_error("gallery must have " + std::to_string(scan.search->dim()) +
                          " columns like queries, not " + std::to_string(dim));
  }
  if (first_id < 0 || first_id > std::numeric_limits<int64_t>::max() - rows) {
    throw py::value_error("first_id must be 0 or more and leave room for the rows' ids, not " +
                          std::to_string(first_id));
  }
}

template <class Search>
void feed_rows(CudaScan<Search>& scan, const cuda::Matrix& rows, int64_t first_id,
               const Groups& groups, bool skip_nonfinite, const py::object& progress) {
  check_feed(scan, rows.view.cols, first_id, rows.view.rows);
  const int64_t* labels = input(groups, "groups", rows.view.rows);
  const Poll poll = make_poll(progress, rows.view.rows);
  const py::gil_scoped_release release;
  scan.search->feed(rows, first_id, labels, skip_nonfinite, scan.budget, poll);
}

cuda::Matrix matrix_of(const cpu::Gallery& gallery) {
  return {gallery.rows.view, false, gallery.rows.file};
}

// Rows with codes of the CPU, in memory or in files.
template <class Search>
void feed_coded(CudaScan<Search>& scan, const cpu::Gallery& gallery, const Groups& groups,
                bool skip_nonfinite, const py::object& progress) {
  check_feed(scan, gallery.dim(), gallery.first_id, gallery.count());
  const int64_t* labels = input(groups, "groups", gallery.count());
  const Poll poll = make_poll(progress, gallery.count());
  cuda::CodeArrays codes{{gallery.codes}, {gallery.scale}, {gallery.residual}, {gallery.norm}};
  if (gallery.code_files != nullptr) {
    const cpu::CodeFiles& files = *gallery.code_files;
    codes = {{nullptr, files.codes},
             {nullptr, files.scale},
             {nullptr, files.residual},
             {nullptr, files.norm}};
  }
  const py::gil_scoped_release release;
  scan.search->feed(matrix_of(gallery), codes, gallery.first_id, labels, skip_nonfinite,
                    scan.budget, poll);
}

// Rows start .. stop of a gallery that the CPU prepared; the first has the id first_id.
template <class Search>
void feed_range(CudaScan<Search>& scan, const Prepared& prepared, int64_t start, int64_t stop,
                int64_t first_id, const Groups& groups, const py::object& progress) {
  if (prepared.metric() != scan.search->metric()) {
    throw py::value_error("the gallery was prepared for another metric");
  }
  feed_coded(scan, prepared.range(start, stop, first_id), groups, true, progress);
}

// feed, feed_prepared and feed_file, as the scans of the CPU have them; threads count for nothing here.
template <class Search, class Class>
void define_feeds(Class& type) {
  type.def(
      "feed",
      [](CudaScan<Search>& scan, const py::object& rows, int64_t first_id, const Groups& groups,
         int, bool skip_nonfinite, const py::object& progress) {
        const CudaArg arg(rows, "gallery", scan.target);
        feed_rows(scan, arg.matrix(), first_id, groups, skip_nonfinite, progress);
      },
      py::arg("rows"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("skip_nonfinite"), py::arg("progress"));
  type.def(
      "feed_prepared",
      [](CudaScan<Search>& scan, const CudaPrepared& prepared, int64_t first_id,
         const Groups& groups, int, const py::object& progress) {
        const cuda::PreparedGallery& gallery = *prepared.gallery;
        if (gallery.metric() != scan.search->metric()) {
          throw py::value_error("the gallery was prepared for another metric");
        }
        if (gallery.target().device != scan.target.device) {
          throw py::value_error("the gallery was prepared on another device");
        }
        check_feed(scan, gallery.dim(), first_id, gallery.count());
        const int64_t* labels = input(groups, "groups", gallery.count());
        const Poll poll = make_poll(progress, gallery.count());
        const py::gil_scoped_release release;
        scan.search->feed(gallery, first_id, labels, scan.budget);
        poll(gallery.count());
      },
      py::arg("prepared"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("progress"));
  type.def(
      "feed_prepared",
      [](CudaScan<Search>& scan, const Prepared& prepared, int64_t first_id, const Groups& groups,
         int, const py::object& progress) {
        feed_range(scan, prepared, 0, prepared.count(), first_id, groups, progress);
      },
      py::arg("prepared"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("progress"));
  type.def("feed_range", &feed_range<Search>, py::arg("prepared"), py::arg("start"),
           py::arg("stop"), py::arg("first_id"), py::arg("groups"), py::arg("progress"));
  type.def(
      "feed_file",
      [](CudaScan<Search>& scan, const FileGallery& file, int64_t first_id, const Groups& groups,
         int, bool skip_nonfinite, const py::object& progress) {
        const cpu::Gallery gallery = file.gallery(first_id);
        if (gallery.code_files != nullptr) {
          return feed_coded(scan, gallery, groups, skip_nonfinite, progress);
        }
        feed_rows(scan, matrix_of(gallery), first_id, groups, skip_nonfinite, progress);
      },
      py::arg("file"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("skip_nonfinite"), py::arg("progress"));
}

// Which pairs a scan leaves out, as Python says it.
struct Options {
  std::string metric;
  bool exclude_self;
  bool triangle;
  int64_t first_query_id;
  const Groups& query_groups;
  int device;
  uintptr_t stream;
  int64_t budget;
  std::string precision;
};

// make(scan, matrix, options) constructs the search.
template <class Search, class Make>
std::unique_ptr<CudaScan<Search>> make_scan(const py::object& queries, const Options& given,
                                            const Make& make) {
  auto scan = std::make_unique<CudaScan<Search>>();
  scan->target = target_of(given.device, given.stream);
  scan->budget = given.budget;
  const CudaArg arg(queries, "queries", scan->target);
  const cuda::Matrix matrix = arg.matrix();
  cuda::QueryOptions options;
  options.metric = metric_by_name(given.metric);
  options.precision = precision_by_name(given.precision);
  options.exclude_self = given.exclude_self;
  options.triangle = given.triangle;
  options.first_query_id = given.first_query_id;
  options.query_groups = input(given.query_groups, "query_groups", matrix.view.rows);
  const py::gil_scoped_release release;
  make(*scan, matrix, options);
  return scan;
}

py::dict certificate(const CudaScan<cuda::TopKSearch>& scan) {
  const cuda::SearchCertificate c = scan.search->certificate();
  Array<float> reach(static_cast<py::ssize_t>(scan.search->count()));
  scan.search->reach(reach.mutable_data());
  py::dict out;
  out["rows_scanned"] = c.rows_scanned;
  out["pairs"] = c.pairs;
  out["candidates"] = c.candidates;
  out["rescored"] = c.rescored;
  out["skipped_rows"] = c.skipped_rows;
  out["scanned_again"] = c.scanned_again;
  out["reach"] = reach;
  return out;
}

void register_topk(py::module_& m) {
  using Search = cuda::TopKSearch;
  using Scan = CudaScan<Search>;
  py::class_<Scan> type(m, "CudaTopKScan");
  type.def(
      py::init([](const py::object& queries, const std::string& metric, int64_t k, float threshold,
                  bool exclude_self, int64_t first_query_id, const Groups& query_groups, int device,
                  uintptr_t stream, int64_t budget, const std::string& precision) {
        return make_scan<Search>(
            queries,
            {metric, exclude_self, false, first_query_id, query_groups, device, stream, budget,
             precision},
            [&](Scan& scan, const cuda::Matrix& matrix, const cuda::QueryOptions& options) {
              scan.search.emplace(matrix, options, k, threshold, scan.target);
            });
      }),
      py::arg("queries"), py::arg("metric"), py::arg("k"), py::arg("threshold"),
      py::arg("exclude_self"), py::arg("first_query_id"), py::arg("query_groups"),
      py::arg("device"), py::arg("stream"), py::arg("budget"), py::arg("precision"));
  define_feeds<Search>(type);
  type.def(
      "finish",
      [](Scan& scan, Array<float> scores, Array<int64_t> ids) {
        Search& search = *scan.search;
        float* score_data = output(scores, "scores", {search.count(), search.k()});
        int64_t* id_data = output(ids, "ids", {search.count(), search.k()});
        const py::gil_scoped_release release;
        search.finish(score_data, id_data, false);
      },
      py::arg("scores").noconvert(), py::arg("ids").noconvert());
  type.def(
      "finish_on_device",
      [](Scan& scan, uintptr_t scores, uintptr_t ids) {
        const py::gil_scoped_release release;
        scan.search->finish(reinterpret_cast<float*>(scores), reinterpret_cast<int64_t*>(ids),
                            true);
      },
      py::arg("scores"), py::arg("ids"));
  type.def("certificate", &certificate);
}

void register_count(py::module_& m) {
  using Search = cuda::CountSearch;
  using Scan = CudaScan<Search>;
  py::class_<Scan> type(m, "CudaCountScan");
  type.def(py::init([](const py::object& queries, const std::string& metric,
                       const std::vector<float>& thresholds, bool exclude_self,
                       int64_t first_query_id, const Groups& query_groups, int device,
                       uintptr_t stream, int64_t budget, const std::string& precision) {
             return make_scan<Search>(
                 queries,
                 {metric, exclude_self, false, first_query_id, query_groups, device, stream, budget,
                  precision},
                 [&](Scan& scan, const cuda::Matrix& matrix, const cuda::QueryOptions& options) {
                   scan.search.emplace(matrix, options, thresholds, scan.target);
                 });
           }),
           py::arg("queries"), py::arg("metric"), py::arg("thresholds"), py::arg("exclude_self"),
           py::arg("first_query_id"), py::arg("query_groups"), py::arg("device"), py::arg("stream"),
           py::arg("budget"), py::arg("precision"));
  define_feeds<Search>(type);
  type.def(
      "finish",
      [](const Scan& scan, Array<int64_t> counts) {
        scan.search->finish(
            output(counts, "counts", {scan.search->count(), scan.search->thresholds()}));
      },
      py::arg("counts").noconvert());
}

template <class T, class Get>
Array<T> column(const std::vector<cuda::FoundPair>& pairs, const Get& get) {
  Array<T> out(static_cast<py::ssize_t>(pairs.size()));
  std::transform(pairs.begin(), pairs.end(), out.mutable_data(), get);
  return out;
}

void register_pairs(py::module_& m) {
  using Search = cuda::PairSearch;
  using Scan = CudaScan<Search>;
  py::class_<Scan> type(m, "CudaPairScan");
  type.def(py::init([](const py::object& queries, const std::string& metric, float threshold,
                       int64_t max_pairs, int64_t found_before, bool exclude_self, bool triangle,
                       int64_t first_query_id, const Groups& query_groups, int device,
                       uintptr_t stream, int64_t budget, const std::string& precision) {
             return make_scan<Search>(
                 queries,
                 {metric, exclude_self, triangle, first_query_id, query_groups, device, stream,
                  budget, precision},
                 [&](Scan& scan, const cuda::Matrix& matrix, const cuda::QueryOptions& options) {
                   scan.search.emplace(matrix, options, threshold, max_pairs, found_before,
                                       scan.target);
                 });
           }),
           py::arg("queries"), py::arg("metric"), py::arg("threshold"), py::arg("max_pairs"),
           py::arg("found_before"), py::arg("exclude_self"), py::arg("triangle"),
           py::arg("first_query_id"), py::arg("query_groups"), py::arg("device"), py::arg("stream"),
           py::arg("budget"), py::arg("precision"));
  define_feeds<Search>(type);
  type.def("finish", [](const Scan& scan) {
    const std::vector<cuda::FoundPair> pairs = scan.search->finish();
    using Pair = cuda::FoundPair;
    return py::make_tuple(column<int64_t>(pairs, [](const Pair& p) { return p.query; }),
                          column<int64_t>(pairs, [](const Pair& p) { return p.id; }),
                          column<float>(pairs, [](const Pair& p) { return p.score; }));
  });
}

void register_distribution(py::module_& m) {
  using Search = cuda::DistributionSearch;
  using Scan = CudaScan<Search>;
  py::class_<Scan> type(m, "CudaDistributionScan");
  type.def(py::init([](const py::object& queries, int bins, float tail, bool exclude_self,
                       bool triangle, int64_t first_query_id, const Groups& query_groups,
                       int device, uintptr_t stream, int64_t budget, const std::string& precision) {
             return make_scan<Search>(
                 queries,
                 {"cosine", exclude_self, triangle, first_query_id, query_groups, device, stream,
                  budget, precision},
                 [&](Scan& scan, const cuda::Matrix& matrix, const cuda::QueryOptions& options) {
                   scan.search.emplace(matrix, options, bins, tail, scan.target);
                 });
           }),
           py::arg("queries"), py::arg("bins"), py::arg("tail"), py::arg("exclude_self"),
           py::arg("triangle"), py::arg("first_query_id"), py::arg("query_groups"),
           py::arg("device"), py::arg("stream"), py::arg("budget"), py::arg("precision"));
  define_feeds<Search>(type);
  type.def(
      "add_to",
      [](const Scan& scan, Array<uint64_t> non_mated, Array<uint64_t> mated) {
        const int bins = scan.search->bins();
        scan.search->add_to(output(non_mated, "non_mated", {bins}), output(mated, "mated", {bins}));
      },
      py::arg("non_mated").noconvert(), py::arg("mated").noconvert());
  type.def(
      "max_error", [](const Scan& scan, double worst) { return scan.search->max_error(worst); },
      py::arg("worst_row"));
  type.def_property_readonly("worst_row",
                             [](const Scan& scan) { return scan.search->worst_row(); });
}

void normalize(const py::object& rows, Array<float> out, int device, uintptr_t stream) {
  const cuda::Target target = target_of(device, stream);
  const CudaArg arg(rows, "x", target);
  const cuda::Matrix matrix = arg.matrix();
  float* data = output(out, "out", {matrix.view.rows, matrix.view.cols});
  const py::gil_scoped_release release;
  cuda::normalize(matrix, data, false, target);
}

void normalize_on_device(const py::object& rows, uintptr_t out, int device, uintptr_t stream) {
  const cuda::Target target = target_of(device, stream);
  const CudaArg arg(rows, "x", target);
  const py::gil_scoped_release release;
  cuda::normalize(arg.matrix(), reinterpret_cast<float*>(out), true, target);
}

}  // namespace

void register_cuda(py::module_& m) {
  py::class_<CudaPrepared>(m, "CudaPrepared")
      .def(py::init([](const py::object& rows, const std::string& metric, bool skip_nonfinite,
                       bool host_rows, int device, uintptr_t stream, const std::string& precision,
                       int64_t first_row) {
             const cuda::Preparation how{metric_by_name(metric), precision_by_name(precision),
                                         skip_nonfinite, host_rows, first_row};
             return std::make_unique<CudaPrepared>(rows, how, target_of(device, stream));
           }),
           py::arg("rows"), py::arg("metric"), py::arg("skip_nonfinite"), py::arg("host_rows"),
           py::arg("device"), py::arg("stream"), py::arg("precision"), py::arg("first_row") = 0)
      .def_property_readonly("rows", [](const CudaPrepared& p) { return p.gallery->count(); })
      .def_property_readonly("dim", [](const CudaPrepared& p) { return p.gallery->dim(); })
      .def_property_readonly("device", [](const CudaPrepared& p) { return p.target.device; })
      .def_property_readonly("precision",
                             [](const CudaPrepared& p) { return name_of(p.gallery->precision()); })
      .def_property_readonly("skipped_rows",
                             [](const CudaPrepared& p) { return p.gallery->skipped_rows(); })
      .def_property_readonly("code_bytes",
                             [](const CudaPrepared& p) { return p.gallery->code_bytes(); })
      .def_property_readonly("row_bytes",
                             [](const CudaPrepared& p) { return p.gallery->row_bytes(); })
      .def_property_readonly("row_place", [](const CudaPrepared& p) {
        constexpr const char* names[] = {"device", "mapped", "fetched"};
        return names[static_cast<int>(p.gallery->row_place())];
      });
  register_topk(m);
  register_count(m);
  register_pairs(m);
  register_distribution(m);
  m.def("cuda_normalize", &normalize, py::arg("rows"), py::arg("out").noconvert(),
        py::arg("device"), py::arg("stream"));
  m.def("cuda_normalize_on_device", &normalize_on_device, py::arg("rows"), py::arg("out"),
        py::arg("device"), py::arg("stream"));
}

}  // namespace idsim::bindings

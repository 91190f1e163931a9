// Scans: objects that take queries, are fed gallery parts, and give an answer.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/prepared.hpp"
#include "bindings/registers.hpp"
#include "bindings/tensor_arg.hpp"
#include "cpu/distribution.hpp"
#include "cpu/isa.hpp"
#include "cpu/tail.hpp"
#include "cpu/topk.hpp"

namespace idsim::bindings {
namespace {

using Groups = std::optional<Array<int64_t>>;

// Which pairs to leave out; keeps the labels alive.
struct ExclusionArg {
  ExclusionArg(bool self, bool triangle, int64_t first_query_id, Groups query_groups,
               int64_t queries)
      : groups(std::move(query_groups)),
        exclusion{self, triangle, first_query_id, input(groups, "query_groups", queries)} {}
  Groups groups;
  cpu::Exclusion exclusion;
};

template <class Scan>
void check_dim(const Scan& scan, int64_t dim) {
  if (dim == scan.dim()) return;
  throw py::value_error("gallery must have " + std::to_string(scan.dim()) +
                        " columns like queries, not " + std::to_string(dim));
}

// Small work is done by the caller alone: waking another thread costs as much as some 2^21 products.
template <class Scan>
int threads_for(const Scan& scan, const cpu::Gallery& gallery, int threads) {
  const double products = static_cast<double>(gallery.count()) * static_cast<double>(scan.count()) *
                          static_cast<double>(gallery.dim());
  return std::max(1, static_cast<int>(std::min(products * 0x1p-21, static_cast<double>(threads))));
}

template <class Scan>
void feed_gallery(Scan& scan, cpu::Gallery gallery, const Groups& groups, int threads,
                  bool skip_nonfinite, const py::object& progress) {
  check_dim(scan, gallery.dim());
  if (gallery.first_id < 0 ||
      gallery.first_id > std::numeric_limits<int64_t>::max() - gallery.count()) {
    throw py::value_error("first_id must be 0 or more and leave room for the rows' ids, not " +
                          std::to_string(gallery.first_id));
  }
  gallery.groups = input(groups, "groups", gallery.count());
  const cpu::ScanOptions options{&scan.kernels(), threads_for(scan, gallery, threads),
                                 skip_nonfinite, make_poll(progress, gallery.count())};
  const py::gil_scoped_release release;
  scan.feed(gallery, options);
}

// feed, feed_prepared and feed_file, the same for every scan.
template <class Scan, class Class>
void define_feeds(Class& type) {
  type.def(
      "feed",
      [](Scan& scan, const py::object& rows, int64_t first_id, const Groups& groups, int threads,
         bool skip_nonfinite, const py::object& progress) {
        const TensorArg arg(rows, "gallery");
        cpu::Gallery gallery;
        gallery.rows.view = arg.view();
        gallery.first_id = first_id;
        feed_gallery(scan, gallery, groups, threads, skip_nonfinite, progress);
      },
      py::arg("rows"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("skip_nonfinite"), py::arg("progress"));
  type.def(
      "feed_prepared",
      [](Scan& scan, const Prepared& prepared, int64_t first_id, const Groups& groups, int threads,
         const py::object& progress) {
        if (prepared.metric() != scan.metric()) {
          throw py::value_error("the gallery was prepared for another metric");
        }
        feed_gallery(scan, prepared.gallery(first_id), groups, threads, true, progress);
      },
      py::arg("prepared"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("progress"));
  type.def(
      "feed_file",
      [](Scan& scan, const FileGallery& file, int64_t first_id, const Groups& groups, int threads,
         bool skip_nonfinite, const py::object& progress) {
        feed_gallery(scan, file.gallery(first_id), groups, threads, skip_nonfinite, progress);
      },
      py::arg("file"), py::arg("first_id"), py::arg("groups"), py::arg("threads"),
      py::arg("skip_nonfinite"), py::arg("progress"));
}

// A scan together with what its pointers point to.
template <class Scan>
struct Owned : Scan {
  template <class... Args>
  explicit Owned(std::shared_ptr<ExclusionArg> exclusion, Args&&... args)
      : Scan(std::forward<Args>(args)...), exclusion_arg(std::move(exclusion)) {}
  std::shared_ptr<ExclusionArg> exclusion_arg;
};

std::shared_ptr<ExclusionArg> exclusion_arg(bool self, bool triangle, int64_t first_query_id,
                                            Groups groups, const TensorArg& queries) {
  return std::make_shared<ExclusionArg>(self, triangle, first_query_id, std::move(groups),
                                        queries.view().rows);
}

// Queries, ids and scores.
py::tuple columns(const std::vector<cpu::FoundPair>& pairs) {
  const auto column = [&pairs](auto array, const auto& get) {
    std::transform(pairs.begin(), pairs.end(), array.mutable_data(), get);
    return array;
  };
  using Pair = cpu::FoundPair;
  const auto size = static_cast<py::ssize_t>(pairs.size());
  return py::make_tuple(column(Array<int64_t>(size), [](const Pair& p) { return p.query; }),
                        column(Array<int64_t>(size), [](const Pair& p) { return p.id; }),
                        column(Array<float>(size), [](const Pair& p) { return p.score; }));
}

void register_topk(py::module_& m) {
  using Scan = Owned<cpu::TopK>;
  py::class_<Scan> type(m, "TopKScan");
  type.def(py::init([](const py::object& queries, const std::string& metric, int64_t k,
                       float threshold, bool exclude_self, int64_t first_query_id,
                       Groups query_groups, const std::optional<float>& list_threshold,
                       int64_t max_pairs, int64_t found_before, bool triangle) {
             const TensorArg arg(queries, "queries");
             const Metric by = metric_by_name(metric);
             auto out = exclusion_arg(exclude_self, triangle, first_query_id,
                                      std::move(query_groups), arg);
             const auto& exclusion = out->exclusion;
             std::optional<cpu::Listing> listing;
             if (list_threshold) listing = {*list_threshold, max_pairs, found_before};
             const py::gil_scoped_release release;
             return std::make_unique<Scan>(out, arg.view(), by, k, threshold, exclusion,
                                           cpu::active_kernels(), listing);
           }),
           py::arg("queries"), py::arg("metric"), py::arg("k"), py::arg("threshold"),
           py::arg("exclude_self"), py::arg("first_query_id"), py::arg("query_groups"),
           py::arg("list_threshold") = py::none(), py::arg("max_pairs") = 0,
           py::arg("found_before") = 0, py::arg("triangle") = false);
  define_feeds<Scan>(type);
  type.def(
      "finish",
      [](Scan& scan, Array<float> scores, Array<int64_t> ids) {
        float* score_data = output(scores, "scores", {scan.count(), scan.k()});
        int64_t* id_data = output(ids, "ids", {scan.count(), scan.k()});
        const py::gil_scoped_release release;
        scan.finish(score_data, id_data);
      },
      py::arg("scores").noconvert(), py::arg("ids").noconvert());
  type.def("finish_pairs", [](Scan& scan) { return columns(scan.finish_pairs()); });
  type.def("certificate", [](const Scan& scan) {
    const cpu::Certificate c = scan.certificate();
    py::dict out;
    out["rows_scanned"] = c.rows_scanned;
    out["pairs"] = c.pairs;
    out["candidates"] = c.candidates;
    out["rescored"] = c.rescored;
    out["skipped_rows"] = c.skipped_rows;
    out["scanned_again"] = c.scanned_again;
    Array<float> reach(static_cast<py::ssize_t>(scan.count()));
    for (int64_t i = 0; i < scan.count(); ++i) reach.mutable_data()[i] = scan.reach_of(i);
    out["reach"] = reach;
    return out;
  });
}

void register_count(py::module_& m) {
  using Scan = Owned<cpu::CountAbove>;
  py::class_<Scan> type(m, "CountScan");
  type.def(py::init([](const py::object& queries, const std::string& metric,
                       std::vector<float> thresholds, bool exclude_self, int64_t first_query_id,
                       Groups query_groups) {
             const TensorArg arg(queries, "queries");
             auto out =
                 exclusion_arg(exclude_self, false, first_query_id, std::move(query_groups), arg);
             const auto& exclusion = out->exclusion;
             return std::make_unique<Scan>(out, arg.view(), metric_by_name(metric),
                                           std::move(thresholds), exclusion, cpu::active_kernels());
           }),
           py::arg("queries"), py::arg("metric"), py::arg("thresholds"), py::arg("exclude_self"),
           py::arg("first_query_id"), py::arg("query_groups"));
  define_feeds<Scan>(type);
  type.def(
      "finish",
      [](const Scan& scan, Array<int64_t> counts) {
        scan.finish(output(counts, "counts", {scan.count(), scan.thresholds()}));
      },
      py::arg("counts").noconvert());
}

void register_pairs(py::module_& m) {
  using Scan = Owned<cpu::PairsAbove>;
  py::class_<Scan> type(m, "PairScan");
  type.def(py::init([](const py::object& queries, const std::string& metric, float threshold,
                       int64_t max_pairs, int64_t found_before, bool exclude_self, bool triangle,
                       int64_t first_query_id, Groups query_groups) {
             const TensorArg arg(queries, "queries");
             auto out = exclusion_arg(exclude_self, triangle, first_query_id,
                                      std::move(query_groups), arg);
             const auto& exclusion = out->exclusion;
             const cpu::Listing listing{threshold, max_pairs, found_before};
             return std::make_unique<Scan>(out, arg.view(), metric_by_name(metric), listing,
                                           exclusion, cpu::active_kernels());
           }),
           py::arg("queries"), py::arg("metric"), py::arg("threshold"), py::arg("max_pairs"),
           py::arg("found_before"), py::arg("exclude_self"), py::arg("triangle"),
           py::arg("first_query_id"), py::arg("query_groups"));
  define_feeds<Scan>(type);
  type.def("finish", [](Scan& scan) { return columns(scan.finish()); });
}

void register_distribution(py::module_& m) {
  using Scan = Owned<cpu::Distribution>;
  py::class_<Scan> type(m, "DistributionScan");
  type.def(py::init([](const py::object& queries, int bins, float tail, bool exclude_self,
                       bool triangle, int64_t first_query_id, Groups query_groups) {
             const TensorArg arg(queries, "queries");
             // The labels split the counts here; they exclude nothing.
             auto out = exclusion_arg(exclude_self, triangle, first_query_id,
                                      std::move(query_groups), arg);
             cpu::Exclusion exclusion = out->exclusion;
             const int64_t* labels = std::exchange(exclusion.query_groups, nullptr);
             return std::make_unique<Scan>(out, arg.view(), bins, tail, exclusion, labels,
                                           cpu::active_kernels());
           }),
           py::arg("queries"), py::arg("bins"), py::arg("tail"), py::arg("exclude_self"),
           py::arg("triangle"), py::arg("first_query_id"), py::arg("query_groups"));
  define_feeds<Scan>(type);
  type.def(
      "add_to",
      [](const Scan& scan, Array<uint64_t> non_mated, Array<uint64_t> mated) {
        scan.add_to(output(non_mated, "non_mated", {scan.bins()}),
                    output(mated, "mated", {scan.bins()}));
      },
      py::arg("non_mated").noconvert(), py::arg("mated").noconvert());
  type.def("max_error", &Scan::max_error, py::arg("worst_row"));
  type.def_property_readonly("worst_row", &Scan::worst_row);
}

}  // namespace

void register_scans(py::module_& m) {
  register_topk(m);
  register_count(m);
  register_pairs(m);
  register_distribution(m);
}

}  // namespace idsim::bindings

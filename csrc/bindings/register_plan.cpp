// What a search on a device would take of its memory; needs no device.
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/registers.hpp"
#include "core/device_plan.hpp"
#include "cuda/device.hpp"

namespace idsim::bindings {
namespace {

GalleryForm form_by_name(const std::string& name) {
  if (name == "device_rows") return GalleryForm::device_rows;
  if (name == "host_rows") return GalleryForm::host_rows;
  if (name == "host_codes") return GalleryForm::host_codes;
  if (name == "index") return GalleryForm::index;
  if (name == "host_index") return GalleryForm::host_index;
  throw py::value_error("no form of a gallery is called '" + name + "'");
}

py::dict search_plan(int64_t queries, int64_t query_bytes, int64_t rows, int64_t row_bytes,
                     int64_t dim, int64_t k, const std::string& form, int64_t budget,
                     const std::string& precision, bool int8_tensor_cores) {
  const SearchPlan plan =
      plan_search({queries, query_bytes, rows, row_bytes, dim, k, form_by_name(form),
                   precision_by_name(precision), int8_tensor_cores},
                  budget);
  py::dict out;
  out["query_chunk"] = plan.query_chunk;
  out["candidates"] = plan.candidates;
  out["precision"] = name_of(plan.precision);
  out["part_rows"] = plan.part.rows;
  out["fetched_rows"] = plan.part.fetched_rows;
  out["query_bytes"] = plan.query_bytes;
  out["candidate_bytes"] = plan.candidate_bytes;
  out["result_bytes"] = plan.result_bytes;
  out["sample_bytes"] = plan.sample_bytes;
  out["part_bytes"] = plan.part.part_bytes;
  out["fetch_bytes"] = plan.part.fetch_bytes;
  out["pinned_bytes"] = plan.part.pinned_bytes;
  out["total"] = plan.total;
  out["least"] = plan.least;
  return out;
}

py::dict index_plan(int64_t rows, int64_t dim, int64_t row_bytes, int64_t budget,
                    const std::string& precision, bool int8_tensor_cores) {
  const Precision codes = kept_precision(precision_by_name(precision), rows, int8_tensor_cores);
  const IndexPlan plan = plan_index(rows, dim, row_bytes, codes, budget);
  py::dict out;
  out["code_bytes"] = plan.code_bytes;
  out["row_bytes"] = plan.row_bytes;
  out["rows_fit"] = plan.rows_fit;
  return out;
}

}  // namespace

void register_plan(py::module_& m) {
  m.def("plan_search", &search_plan, py::arg("queries"), py::arg("query_bytes"), py::arg("rows"),
        py::arg("row_bytes"), py::arg("dim"), py::arg("k"), py::arg("form"), py::arg("budget"),
        py::arg("precision") = "auto", py::arg("int8_tensor_cores") = true);
  m.def("plan_index", &index_plan, py::arg("rows"), py::arg("dim"), py::arg("row_bytes"),
        py::arg("budget"), py::arg("precision") = "auto", py::arg("int8_tensor_cores") = true);
  m.def(
      "cuda_memory",
      [](int device) {
        const cuda::DeviceMemory memory = cuda::device_memory(device);
        return py::make_tuple(memory.free, memory.total);
      },
      py::arg("device"));
  m.def("cuda_int8_tensor_cores", &cuda::int8_tensor_cores, py::arg("device"));
}

}  // namespace idsim::bindings

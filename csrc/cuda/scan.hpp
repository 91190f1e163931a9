// What every scan of a gallery on a device has: where it works, what it leaves out, and what it met.
#pragma once

#include "cuda/gallery.hpp"
#include "cuda/rows.hpp"
#include "cuda/search.hpp"

namespace idsim::cuda {

struct Scan::State {
  // Uploads the labels of the queries; the scan itself is made by the derived class.
  State(const Matrix& queries, const QueryOptions& options, const Target& to);
  virtual ~State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Before anything of a gallery is allocated: what there is room for then has to leave the queries' codes theirs.
  virtual void use(Precision precision) = 0;
  virtual void take(const Gallery& gallery) = 0;
  virtual const Queries::View& queries() const = 0;
  virtual int64_t wanted() const { return 0; }  // k of a top-k search
  // False: the answer is known without looking at a row, and the rows are only coded, to find those with NaN or Inf.
  virtual bool looks() const { return queries().count > 0; }
  // Called between parts, so that a scan can stop one that found too much.
  virtual void look() {}

  void check_queries() const;

  Target target;
  Metric metric;
  Precision precision;  // that was asked for
  bool checked;
  int64_t first_query_id;
  DeviceBuffer<int64_t> labels;
  DeviceBuffer<NonFinite> found;
  Exclusion exclusion;
  int64_t rows_scanned = 0;
  int64_t skipped = 0;
};

}  // namespace idsim::cuda

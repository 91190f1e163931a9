// What the rest of the engine calls of the CUDA backend: galleries and top-k searches on a device, behind types that
// know no CUDA. Without the backend, unavailable.cpp throws CudaError from all of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/precision.hpp"
#include "core/rows.hpp"
#include "core/threads.hpp"
#include "core/types.hpp"

namespace idsim::cuda {

struct NonFinite;

// A matrix of embeddings on the host, on the device or in a file.
// Rows in a file are dense; of the view rows, cols and dtype count.
struct Matrix {
  MatrixView view;
  bool on_device = false;
  FilePart file = {};
};

// One value or several of every row of a gallery, dense, on the host or in a file.
struct HostColumn {
  const void* data = nullptr;
  FilePart file = {};
};

// Codes that were prepared (core/codes.hpp): [n, d_pad] bytes, and [n] float32, float32 and float64.
struct CodeArrays {
  HostColumn codes, scale, residual, norm;
};

// Where work goes. stream: a cudaStream_t; null: the legacy default stream.
struct Target {
  int device = 0;
  void* stream = nullptr;
};

// Where the rows of a prepared gallery are read: on the device, by the device over the bus, or by the host, which sends
// those that are asked for.
enum class RowPlace { device, mapped, fetched };

struct Preparation {
  Metric metric = Metric::cosine;
  Precision precision = Precision::automatic;  // of the codes
  bool skip_nonfinite = false;
  bool host_rows = false;  // rows that lie on the host stay there
  int64_t first_row = 0;   // number of row 0, for messages
};

// A gallery's codes and stats on a device, and its rows there or on the host. Rows that are not copied must outlive it.
class PreparedGallery {
 public:
  // Waits for the device. Throws NonFiniteRow, DeviceMemoryError, CudaError.
  PreparedGallery(const Matrix& rows, const Preparation& how, const Target& target);
  ~PreparedGallery();

  int64_t count() const;
  int64_t dim() const;
  Metric metric() const;
  Precision precision() const;  // of its codes
  int64_t skipped_rows() const;
  // Bytes of the device that it holds: codes with their stats, and copied rows.
  int64_t code_bytes() const;
  int64_t row_bytes() const;
  RowPlace row_place() const;
  const Target& target() const;
  // What is queued on the stream so far reads it, and its memory is freed behind that.
  void read_on(void* stream) const;

  struct State;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Queries and which of their pairs to leave out. Labels lie on the host.
struct QueryOptions {
  Metric metric = Metric::cosine;
  Precision precision = Precision::automatic;
  bool exclude_self = false;  // leave out id == first_query_id + query
  bool triangle = false;      // keep only id > first_query_id + query
  int64_t first_query_id = 0;
  const int64_t* query_groups = nullptr;  // [q] leave out rows of the same label; or null
  // False: the host does not wait to look for queries with NaN or Inf; those of a top-k search get padding.
  bool checked = true;
};

// A question about queries and a gallery that may come in parts.
class Scan {
 public:
  virtual ~Scan();
  Scan(const Scan&) = delete;
  Scan& operator=(const Scan&) = delete;

  // groups: [n] on the host, or null. Rows are worked on a part at a time, within `budget` bytes of the device; parts that
  // come from the host are read and copied while the one before is worked on. Waits for the device to tell of rows with
  // NaN or Inf, which throw NonFiniteRow unless skip_nonfinite. poll: called between parts with the rows queued.
  void feed(const Matrix& rows, int64_t first_id, const int64_t* groups, bool skip_nonfinite,
            int64_t budget, const Poll& poll);
  // The same for rows with codes: the codes are what is copied, and of the rows those that the codes cannot decide. Where
  // codes of another precision were asked for, the rows are fed.
  void feed(const Matrix& rows, const CodeArrays& codes, int64_t first_id, const int64_t* groups,
            bool skip_nonfinite, int64_t budget, const Poll& poll);
  // In stream order; waits for the device where rows are fetched, with up to `budget` bytes of it. Where codes of another
  // precision were asked for, the rows are fed.
  void feed(const PreparedGallery& gallery, int64_t first_id, const int64_t* groups,
            int64_t budget);

  int64_t count() const;
  int64_t dim() const;
  Metric metric() const;
  const Target& target() const;
  const NonFinite* found() const;  // on the device: queries with NaN or Inf

  struct State;

 protected:
  explicit Scan(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct SearchCertificate {
  int64_t rows_scanned = 0;
  int64_t pairs = 0;
  int64_t candidates = 0;
  int64_t rescored = 0;
  int64_t skipped_rows = 0;
  int64_t scanned_again = 0;  // query-slab pairs whose candidates overflowed
};

// Constructors of the scans wait for the device and throw NonFiniteRow for a query with NaN or Inf, where these are checked.

class TopKSearch : public Scan {
 public:
  // threshold: worst score to return.
  TopKSearch(const Matrix& queries, const QueryOptions& options, int64_t k, float threshold,
             const Target& target);

  // scores and ids [q, k], on the device in stream order, or on the host (waits).
  void finish(float* scores, int64_t* ids, bool on_device);
  int64_t k() const;
  SearchCertificate certificate() const;  // waits
  void reach(float* out) const;           // [q] on the host; waits
};

class CountSearch : public Scan {
 public:
  CountSearch(const Matrix& queries, const QueryOptions& options,
              const std::vector<float>& thresholds, const Target& target);
  int64_t thresholds() const;
  void finish(int64_t* counts) const;  // [q, thresholds] on the host; waits
};

struct FoundPair {
  int64_t query;
  int64_t id;
  float score;
};

class PairSearch : public Scan {
 public:
  // Feeding throws std::length_error beyond max_pairs, of which found_before were found by other scans.
  PairSearch(const Matrix& queries, const QueryOptions& options, float threshold, int64_t max_pairs,
             int64_t found_before, const Target& target);
  std::vector<FoundPair> finish() const;  // by query, then id
};

class DistributionSearch : public Scan {
 public:
  // The labels of `options` split the counts and leave out nothing.
  DistributionSearch(const Matrix& queries, const QueryOptions& options, int bins, float tail,
                     const Target& target);
  int bins() const;
  // These wait. Adds to non_mated and mated, [bins] each on the host.
  void add_to(uint64_t* non_mated, uint64_t* mated) const;
  double worst_row() const;                  // the largest ||rx|| of a unit row met
  double max_error(double worst_row) const;  // of an estimate, with rows up to that
};

// float32 unit rows, out [n, d] dense on the device or on the host. Waits. Throws NonFiniteRow.
void normalize(const Matrix& rows, float* out, bool out_on_device, const Target& target);

}  // namespace idsim::cuda

// What the rest of the engine calls of the CUDA backend: galleries and top-k searches on a device, behind types that
// know no CUDA. Without the backend, unavailable.cpp throws CudaError from all of it.
#pragma once

#include <cstdint>
#include <memory>

#include "core/types.hpp"

namespace idsim::cuda {

// A matrix of embeddings on the host or on the device. Host rows are copied to the device.
struct Matrix {
  MatrixView view;
  bool on_device = false;
};

// Where work goes. stream: a cudaStream_t; null: the legacy default stream.
struct Target {
  int device = 0;
  void* stream = nullptr;
};

// A gallery's codes, stats and rows on a device. Rows that lie on the device are not copied and must outlive it.
class PreparedGallery {
 public:
  // Waits for the device. Throws NonFiniteRow unless skip_nonfinite, DeviceMemoryError, CudaError.
  PreparedGallery(const Matrix& rows, Metric metric, bool skip_nonfinite, const Target& target);
  ~PreparedGallery();

  int64_t count() const;
  int64_t dim() const;
  Metric metric() const;
  int64_t skipped_rows() const;
  // Bytes of the device that it holds: codes with their stats, and copied rows.
  int64_t code_bytes() const;
  int64_t row_bytes() const;
  const Target& target() const;

  struct State;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct SearchCertificate {
  int64_t rows_scanned = 0;
  int64_t pairs = 0;
  int64_t candidates = 0;
  int64_t rescored = 0;
  int64_t skipped_rows = 0;
};

struct SearchOptions {
  Metric metric = Metric::cosine;
  int64_t k = 0;
  float threshold = 0.0F;     // worst score to return
  bool exclude_self = false;  // leave out id == first_query_id + query
  int64_t first_query_id = 0;
  const int64_t* query_groups =
      nullptr;  // [q] on the host: leave out rows of the same label; or null
};

// Top-k of queries over a gallery that may come in parts.
class TopKSearch {
 public:
  // Waits for the device. Throws NonFiniteRow.
  TopKSearch(const Matrix& queries, const SearchOptions& options, const Target& target);
  ~TopKSearch();

  // groups: [n] on the host, or null. Rows are coded a part at a time, codes within `budget` bytes. Waits for the device
  // to tell of rows with NaN or Inf, which throw NonFiniteRow unless skip_nonfinite.
  void feed(const Matrix& rows, int64_t first_id, const int64_t* groups, bool skip_nonfinite,
            int64_t budget);
  // In stream order.
  void feed(const PreparedGallery& gallery, int64_t first_id, const int64_t* groups);

  // scores and ids [q, k], on the device in stream order, or on the host (waits).
  void finish(float* scores, int64_t* ids, bool on_device);

  int64_t count() const;
  int64_t dim() const;
  int64_t k() const;
  Metric metric() const;
  SearchCertificate certificate() const;  // waits
  void reach(float* out) const;           // [q] on the host; waits

  static int64_t bytes_per_query(int64_t dim, int64_t k);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// float32 unit rows, out [n, d] dense on the device or on the host. Waits. Throws NonFiniteRow.
void normalize(const Matrix& rows, float* out, bool out_on_device, const Target& target);

}  // namespace idsim::cuda

// Embedding rows on the device: their codes, their unit form, and queries made ready for the tile kernels.
#pragma once

#include "core/bounds.hpp"
#include "core/precision.hpp"
#include "core/types.hpp"
#include "cuda/runtime.hpp"

namespace idsim::cuda {

// Codes and stats of n rows (core/codes.hpp, core/half.hpp) and their terms for one metric (core/bounds.hpp), on the
// device.
struct CodedRows {
  uint8_t* codes = nullptr;  // [n, code_bytes(precision, d)]; null, as the next three, for float32
  float* scale = nullptr;    // [n]
  float* residual = nullptr;
  double* norm = nullptr;
  float* u = nullptr;
  float* v = nullptr;
  float* w = nullptr;
  Precision precision = Precision::int8;
  // [n] Slot i has the codes of row i + order[i] (cuda/ordering.hpp); null: of row i.
  int16_t* order = nullptr;

  IDSIM_HD int64_t row(int64_t slot) const { return order == nullptr ? slot : slot + order[slot]; }
};

// What quantising met: the number of rows with NaN or Inf, and the first of them (INT64_MAX: none).
struct NonFinite {
  unsigned long long count;
  long long first;
};

// rows: memory that the device can read. out.order: null, or written too. found: on the device, updated; rows count from
// first_row in it.
void quantize(const MatrixView& rows, Metric metric, const CodedRows& out, int64_t first_row,
              NonFinite* found, cudaStream_t stream);

// The terms u, v and w of n rows from the stats of their 8-bit codes, which lie in the order of rows. found: as above.
void derive_terms(const CodedRows& rows, int64_t n, Metric metric, int64_t first_row,
                  NonFinite* found, cudaStream_t stream);

// float32 unit rows, in float64 arithmetic, out [n, d] dense; a zero row stays zero.
void normalize(const MatrixView& rows, float* out, NonFinite* found, cudaStream_t stream);

NonFinite fetch(const NonFinite* found, cudaStream_t stream);  // waits
void clear(NonFinite* found, cudaStream_t stream);

inline constexpr int kTileQueries = 128;

// Queries on the device. They are coded when it is known what the gallery's codes are.
class Queries {
 public:
  Queries(const MatrixView& rows, Metric metric, NonFinite* found, cudaStream_t stream);

  // Codes the queries for a gallery, as two_digits_fit (core/tile_plan.hpp) allows with one digit or two. True: as they were
  // not before, so that terms made of `bounds` are to be made again.
  bool use(Precision precision, int digits = 1);

  struct View {
    int64_t count;
    int64_t dim;
    int64_t padded;  // count rounded up to whole tiles; codes of the rest are 0
    Metric metric;
    Precision precision;  // automatic: none yet
    int digits;           // of a query's codes; 2 (core/digits.hpp): the row scan's alone
    int64_t pitch;        // bytes of a query's codes
    float* rows;          // [count, dim]
    double* norms;        // [count] sqrt(dot(q, q))
    double* squares;      // [count] dot(q, q)
    uint8_t* codes;       // [padded, pitch]; second digits from row digit_columns(count) on
    int32_t* starts;      // [padded] -128 * sum of 8-bit codes
    QueryBound* bounds;   // [count]
    float* b;             // [padded]
    float* c;             // [padded]

    IDSIM_HD bool integer_sums() const { return precision == Precision::int8 && digits == 1; }
  };
  const View& view() const { return view_; }

 private:
  cudaStream_t stream_;
  View view_;
  DeviceBuffer<float> rows_;
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<int32_t> starts_;
  DeviceBuffer<QueryBound> bounds_;
  DeviceBuffer<double> norms_, squares_;
  DeviceBuffer<float> b_, c_;
};

}  // namespace idsim::cuda

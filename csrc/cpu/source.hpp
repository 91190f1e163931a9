// A gallery as the scans read it: blocks of coded rows, ready made or coded on the fly, and the float32
// rows behind them for the exact score.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "core/bounds.hpp"
#include "core/rows.hpp"
#include "cpu/kernels.hpp"

namespace idsim::cpu {

// Row terms of a whole prepared gallery for one metric.
struct TermArrays {
  std::vector<float> u, v, w;  // w: l2 only
  int64_t skipped = 0;         // rows with NaN or Inf
};
// 4-bit codes of a whole prepared gallery (core/nibbles.hpp).
struct NibbleArrays {
  AlignedBuffer<uint8_t> codes;  // [n, nibble_bytes(d_pad)]
  TermArrays terms;
};
TermArrays make_terms(Metric metric, const float* scale, const float* residual, const double* norm,
                      int64_t n);

// The arrays of a prepared gallery in files, read block by block.
struct CodeFiles {
  FilePart codes, scale, residual, norm;
};

struct Gallery {
  RowSource rows;  // [n, d]
  const uint8_t* codes =
      nullptr;  // [n, d_pad]; null: in files or coded on the fly, and the next five are null too
  const float* scale = nullptr;           // [n]
  const float* residual = nullptr;        // [n]
  const double* norm = nullptr;           // [n]
  const TermArrays* terms = nullptr;      // of the scan's metric
  const NibbleArrays* nibbles = nullptr;  // or null
  const CodeFiles* code_files = nullptr;  // or null
  const int64_t* groups = nullptr;        // [n] labels, or null
  int64_t first_id = 0;                   // id of row 0

  int64_t count() const { return rows.view.rows; }
  int64_t dim() const { return rows.view.cols; }
  bool coded() const { return codes != nullptr || code_files != nullptr; }
  bool in_file() const { return rows.file.fd >= 0; }
};

struct Block {
  int64_t first = 0;  // gallery row of the block's row 0
  int n = 0;
  const uint8_t* codes = nullptr;  // [n, d_pad]
  const float* u = nullptr;
  const float* v = nullptr;
  const float* w = nullptr;  // null but for l2
  const float* scale = nullptr;
  const float* residual = nullptr;
  const double* norm = nullptr;
  const uint8_t* next = nullptr;  // codes of the rows behind the block, as many; or null

  // 4-bit codes and their row terms, or null.
  const uint8_t* nibbles = nullptr;
  const float* nibble_u = nullptr;
  const float* nibble_v = nullptr;
  const float* nibble_w = nullptr;
};

// Rows per block: codes (and their staged form) stay in the second-level cache while all queries pass.
int block_rows(const Kernels& kernels, int d_pad);

// One worker's window on a gallery. What is in files is read by the worker that needs it, a block at a time,
// so that the block is searched while it is in the worker's cache.
class BlockReader {
 public:
  BlockReader(const Gallery& gallery, Metric metric, const Kernels& kernels, int max_rows);

  // At most max_rows rows; valid until the next call of read or rows.
  Block read(int64_t first, int n);
  // Rows `first` to `first + n` in memory, as row 0 and so on; valid as above.
  RowSource rows(int64_t first, int n);
  // The float32 row of gallery row i; valid until the next call of any.
  const float* row(int64_t i);

 private:
  void make_code_buffers();  // at the first read: scans of raw rows need none
  void code_rows(int64_t first, int n);
  void read_codes(int64_t first, int n);

  const Gallery& gallery_;
  Metric metric_;
  const Kernels& kernels_;
  int max_rows_;
  int d_pad_;
  AlignedBuffer<float> scratch_;
  AlignedBuffer<uint8_t> codes_;
  AlignedBuffer<float> scale_, residual_, u_, v_, w_;
  AlignedBuffer<double> norm_;
  AlignedBuffer<char> raw_;  // rows loaded_first_ to loaded_first_ + loaded_ of a file
  int64_t loaded_first_ = 0;
  int64_t loaded_ = 0;
};

// First row with NaN or Inf, or -1.
int64_t first_nonfinite_row(const RowSource& rows, const Kernels& kernels);

}  // namespace idsim::cpu

// Galleries as Python holds them: prepared ones, codes, their stats and the rows behind them; and files.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/tensor_arg.hpp"
#include "cpu/source.hpp"

namespace idsim::bindings {

class Prepared {
 public:
  Prepared(TensorArg rows, Array<uint8_t> codes, Array<float> scale, Array<float> residual,
           Array<double> norm, Metric metric);

  // Makes the 4-bit codes where the instruction set in use has them; returns their bytes, terms included.
  int64_t add_nibbles(int threads);

  cpu::Gallery gallery(int64_t first_id) const;
  // Codes and rows start .. stop alone, without the terms of the CPU's scans.
  cpu::Gallery range(int64_t start, int64_t stop, int64_t first_id) const;
  Metric metric() const { return metric_; }
  int64_t count() const { return gallery_.count(); }
  int64_t dim() const { return gallery_.dim(); }

 private:
  TensorArg owner_;
  Array<uint8_t> codes_;
  Array<float> scale_, residual_;
  Array<double> norm_;
  Metric metric_;
  cpu::TermArrays terms_;
  std::optional<cpu::NibbleArrays> nibbles_;
  cpu::Gallery gallery_;
};

// One shard of a gallery on disk. The descriptors stay the caller's, and open while the shard is searched.
class FileGallery {
 public:
  struct Part {
    int fd;
    int64_t offset;
    std::string path;
  };
  // The vectors, and behind them, or not, the codes, scales, residuals and norms.
  FileGallery(std::vector<Part> parts, int64_t rows, int64_t dim, DType dtype);
  FileGallery(const FileGallery&) = delete;
  FileGallery& operator=(const FileGallery&) = delete;

  cpu::Gallery gallery(int64_t first_id) const;
  // Rows first .. first + rows as a shard of their own.
  std::unique_ptr<FileGallery> slice(int64_t first, int64_t rows) const;
  int64_t rows() const { return gallery_.rows.view.rows; }

 private:
  std::vector<Part> parts_;
  cpu::CodeFiles codes_;
  cpu::Gallery gallery_;
};

}  // namespace idsim::bindings

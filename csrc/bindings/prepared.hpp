// A prepared gallery as Python holds it: codes, their stats, and the float32 rows behind them.
#pragma once

#include <optional>
#include <string>

#include "bindings/arguments.hpp"
#include "bindings/tensor_arg.hpp"
#include "cpu/source.hpp"

namespace idsim::bindings {

class Prepared {
 public:
  Prepared(RowSource rows, std::optional<TensorArg> owner, Array<uint8_t> codes, Array<float> scale,
           Array<float> residual, Array<double> norm, Metric metric);

  // Makes the 4-bit codes where the instruction set in use has them; returns their bytes, terms included.
  int64_t add_nibbles(int threads);

  cpu::Gallery gallery(int64_t first_id) const;
  Metric metric() const { return metric_; }
  int64_t count() const { return gallery_.count(); }
  int64_t dim() const { return gallery_.dim(); }

 private:
  std::optional<TensorArg> owner_;
  Array<uint8_t> codes_;
  Array<float> scale_, residual_;
  Array<double> norm_;
  Metric metric_;
  cpu::TermArrays terms_;
  std::optional<cpu::NibbleArrays> nibbles_;
  cpu::Gallery gallery_;
};

}  // namespace idsim::bindings

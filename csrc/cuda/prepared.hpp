// Galleries that are kept on a device, and what parts of others are coded in.
#pragma once

#include <map>
#include <mutex>
#include <optional>

#include "core/device_plan.hpp"
#include "cuda/fetch.hpp"
#include "cuda/gallery.hpp"
#include "cuda/mapped_rows.hpp"
#include "cuda/ordering.hpp"
#include "cuda/search.hpp"
#include "cuda/transfer.hpp"
#include "cuda/upload.hpp"

namespace idsim::cuda {

inline cudaStream_t stream_of(const Target& target) {
  return static_cast<cudaStream_t>(target.stream);
}

inline void wait(cudaStream_t stream) {
  check(cudaStreamSynchronize(stream), "waiting for the device");
}

// Codes of up to `rows` gallery rows, to be filled again and again.
class CodeBuffers {
 public:
  CodeBuffers(int64_t rows, int64_t d, Metric metric, Precision precision, cudaStream_t stream)
      : precision_(precision),
        codes_(rows * code_bytes(precision, d), stream),
        scale_(precision == Precision::float32 ? 0 : rows, stream),
        residual_(scale_.size(), stream),
        norm_(scale_.size(), stream),
        u_(rows, stream),
        v_(rows, stream),
        w_(metric == Metric::l2 ? rows : 0, stream) {}

  // Lets the codes lie in another order than the rows (cuda/ordering.hpp).
  void keep_order(cudaStream_t stream) { order_ = DeviceBuffer<int16_t>(u_.size(), stream); }

  CodedRows rows() const {
    const auto data = [](const auto& column) {
      return column.size() > 0 ? column.data() : nullptr;
    };
    return {data(codes_), data(scale_), data(residual_), data(norm_), data(u_),
            data(v_),     data(w_),     precision_,      data(order_)};
  }

 private:
  Precision precision_;
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<float> scale_, residual_;
  DeviceBuffer<double> norm_;
  DeviceBuffer<float> u_, v_, w_;
  DeviceBuffer<int16_t> order_;
};

// How a gallery is cut, with half the budget for as long as the device has no room for make(plan).
template <class Make>
auto made_of_parts(GalleryForm form, const Matrix& rows, Precision precision, int64_t budget,
                   const Make& make) {
  constexpr int64_t least = int64_t{64} << 10;
  return made_to_fit(&budget, least, [&](int64_t less) {
    return make(plan_parts(form, rows.view.rows, rows.view.cols, HostRows(rows).row_bytes(),
                           precision, less));
  });
}

// What parts of a gallery pass through: rows that are quantised here, or codes and the rows fetched for them.
struct RowParts {
  RowParts(const Matrix& matrix, int64_t part_rows, Metric metric, Precision precision,
           bool ordered, cudaStream_t stream)
      : codes(part_rows, matrix.view.cols, metric, precision, stream),
        rows(matrix, part_rows, stream) {
    if (ordered) codes.keep_order(stream);
  }
  CodeBuffers codes;
  RowStream rows;
};
struct CodedParts {
  CodedParts(const Matrix& matrix, const CodeArrays& arrays, const PartPlan& plan, Metric metric,
             cudaStream_t stream)
      : codes(arrays, matrix.view.rows, matrix.view.cols, metric, plan.rows, stream),
        rows(matrix, plan.rows, plan.fetched_rows, stream) {}
  CodeStream codes;
  RowFetcher rows;
};

// Streams on which work reads a gallery, with how far it had come when it was last noted.
class Readers {
 public:
  void note(cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    events_[stream].record(stream);
  }
  // What is queued on `stream` from now on comes behind all of them.
  void hold(cudaStream_t stream) const {
    for (const auto& [reader, event] : events_) cudaStreamWaitEvent(stream, event.get(), 0);
  }

 private:
  std::mutex mutex_;
  std::map<cudaStream_t, Event> events_;
};

struct PreparedGallery::State {
  State(const Matrix& matrix, Metric by, Precision precision, bool host_rows, const Target& to)
      : target(to),
        metric(by),
        given(matrix),
        codes(matrix.view.rows, matrix.view.cols, by, precision, stream_of(to)) {
    gallery.rows = matrix.view;
    if (!host_rows || matrix.on_device) {
      gallery.rows = rows.emplace(matrix, stream_of(to)).view();
    } else if (mapped.emplace(matrix).readable()) {
      gallery.rows = mapped->view();
    }
    if (place() != RowPlace::fetched && wants_order(to.device, precision)) {
      codes.keep_order(stream_of(to));
    }
    gallery.coded = codes.rows();
  }

  RowPlace place() const {
    if (rows) return RowPlace::device;
    return mapped->readable() ? RowPlace::mapped : RowPlace::fetched;
  }

  // Updates found, in which rows count from first_row.
  void code(NonFinite* found, int64_t first_row);

  Target target;
  Metric metric;
  Matrix given;
  std::optional<DeviceRows> rows;    // on the device
  std::optional<MappedRows> mapped;  // or on the host
  CodeBuffers codes;
  Gallery gallery;
  int64_t skipped = 0;
  Readers readers;  // on streams other than its own
};

}  // namespace idsim::cuda

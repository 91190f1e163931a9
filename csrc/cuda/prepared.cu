#include "cuda/prepared.hpp"

#include <memory>
#include <stdexcept>

#include "core/error.hpp"
#include "cuda/device.hpp"
#include "cuda/ordering.hpp"

namespace idsim::cuda {
namespace {

// Of the device, for rows on their way to be coded: large enough for full transfer speed.
constexpr int64_t kPartBytes = int64_t{128} << 20;

}  // namespace

void PreparedGallery::State::code(NonFinite* found, int64_t first_row) {
  const cudaStream_t stream = stream_of(target);
  if (rows) return quantize(gallery.rows, metric, gallery.coded, first_row, found, stream);
  if (given.view.rows == 0) return;
  const auto parts = made_of_parts(
      GalleryForm::host_rows, given, gallery.coded.precision, kPartBytes,
      [&](const PartPlan& plan) {
        const int64_t rows = gallery.coded.order == nullptr ? plan.rows : whole_blocks(plan.rows);
        return std::make_unique<RowStream>(given, rows, stream);
      });
  MatrixView part;
  int64_t first = 0;
  while (parts->next(&part, &first)) {
    quantize(part, metric, from_slot(gallery.coded, gallery.dim(), first), first_row + first, found,
             stream);
  }
}

PreparedGallery::PreparedGallery(const Matrix& rows, const Preparation& how, const Target& target) {
  const DeviceScope scope(target.device);
  const cudaStream_t stream = stream_of(target);
  check_not_capturing(stream);
  if (how.precision == Precision::float32) {
    throw std::invalid_argument(
        "an Index keeps codes: precision must be 'auto', 'int8' or 'float16', not 'float32'");
  }
  const Precision codes =
      kept_precision(how.precision, rows.view.rows, int8_tensor_cores(target.device));
  state_ = std::make_unique<State>(rows, how.metric, codes, how.host_rows, target);
  DeviceBuffer<NonFinite> found(1, stream);
  clear(found.data(), stream);
  state_->code(found.data(), how.first_row);
  const NonFinite bad = fetch(found.data(), stream);
  if (bad.count > 0 && !how.skip_nonfinite) throw NonFiniteRow("gallery", bad.first);
  state_->skipped = static_cast<int64_t>(bad.count);
}

PreparedGallery::~PreparedGallery() {
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(state_->target.device);
  state_->readers.hold(stream_of(state_->target));
  state_.reset();
  cudaSetDevice(before);
}
int64_t PreparedGallery::count() const { return state_->gallery.count(); }
int64_t PreparedGallery::dim() const { return state_->gallery.dim(); }
Metric PreparedGallery::metric() const { return state_->metric; }
int64_t PreparedGallery::skipped_rows() const { return state_->skipped; }
Precision PreparedGallery::precision() const { return state_->gallery.coded.precision; }
int64_t PreparedGallery::code_bytes() const {
  const int64_t unused = state_->gallery.coded.order == nullptr ? kOrderBytes : 0;
  return count() * (coded_row_bytes(precision(), dim()) - unused);
}
int64_t PreparedGallery::row_bytes() const { return state_->rows ? state_->rows->bytes() : 0; }
RowPlace PreparedGallery::row_place() const { return state_->place(); }
const Target& PreparedGallery::target() const { return state_->target; }

void PreparedGallery::read_on(void* stream) const {
  if (stream == target().stream) return;
  const DeviceScope scope(target().device);
  // The graph that takes the work has to go before the gallery does.
  const auto reader = static_cast<cudaStream_t>(stream);
  if (!is_capturing(reader)) state_->readers.note(reader);
}

}  // namespace idsim::cuda

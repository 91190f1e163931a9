// Stands in for the CUDA backend in builds without it.
#include "core/error.hpp"
#include "cuda/buffer.hpp"
#include "cuda/device.hpp"
#include "cuda/replay.hpp"
#include "cuda/search.hpp"

namespace idsim::cuda {
namespace {

constexpr const char* kReason =
    "This build of idsim has no CUDA backend; everything runs on the CPU.";

[[noreturn]] void refuse() { throw CudaError(kReason); }

}  // namespace

BackendStatus backend_status() { return {false, false, 0, kReason}; }
DeviceMemory device_memory(int) { refuse(); }
bool int8_tensor_cores(int) { refuse(); }

struct PreparedGallery::State {};
PreparedGallery::PreparedGallery(const Matrix&, const Preparation&, const Target&) { refuse(); }
PreparedGallery::~PreparedGallery() = default;
int64_t PreparedGallery::count() const { refuse(); }
int64_t PreparedGallery::dim() const { refuse(); }
Metric PreparedGallery::metric() const { refuse(); }
Precision PreparedGallery::precision() const { refuse(); }
int64_t PreparedGallery::skipped_rows() const { refuse(); }
int64_t PreparedGallery::code_bytes() const { refuse(); }
int64_t PreparedGallery::row_bytes() const { refuse(); }
RowPlace PreparedGallery::row_place() const { refuse(); }
const Target& PreparedGallery::target() const { refuse(); }
void PreparedGallery::read_on(void*) const { refuse(); }

struct Scan::State {};
Scan::Scan(std::unique_ptr<State>) { refuse(); }
Scan::~Scan() = default;
void Scan::feed(const Matrix&, int64_t, const int64_t*, bool, int64_t, const Poll&) { refuse(); }
void Scan::feed(const Matrix&, const CodeArrays&, int64_t, const int64_t*, bool, int64_t,
                const Poll&) {
  refuse();
}
void Scan::feed(const PreparedGallery&, int64_t, const int64_t*, int64_t) { refuse(); }
int64_t Scan::count() const { refuse(); }
int64_t Scan::dim() const { refuse(); }
Metric Scan::metric() const { refuse(); }
const Target& Scan::target() const { refuse(); }
const NonFinite* Scan::found() const { refuse(); }

TopKSearch::TopKSearch(const Matrix&, const QueryOptions&, int64_t, float, const Target&)
    : Scan(nullptr) {}
void TopKSearch::finish(float*, int64_t*, bool) { refuse(); }
int64_t TopKSearch::k() const { refuse(); }
SearchCertificate TopKSearch::certificate() const { refuse(); }
void TopKSearch::reach(float*) const { refuse(); }

CountSearch::CountSearch(const Matrix&, const QueryOptions&, const std::vector<float>&,
                         const Target&)
    : Scan(nullptr) {}
int64_t CountSearch::thresholds() const { refuse(); }
void CountSearch::finish(int64_t*) const { refuse(); }

PairSearch::PairSearch(const Matrix&, const QueryOptions&, float, int64_t, int64_t, const Target&)
    : Scan(nullptr) {}
std::vector<FoundPair> PairSearch::finish() const { refuse(); }

DistributionSearch::DistributionSearch(const Matrix&, const QueryOptions&, int, float,
                                       const Target&)
    : Scan(nullptr) {}
int DistributionSearch::bins() const { refuse(); }
void DistributionSearch::add_to(uint64_t*, uint64_t*) const { refuse(); }
double DistributionSearch::worst_row() const { refuse(); }
double DistributionSearch::max_error(double) const { refuse(); }

Buffer::Buffer(int64_t, const Target&) { refuse(); }
Buffer::Buffer(const MatrixView&, const Target&, const Target&) { refuse(); }
Buffer::~Buffer() = default;
void Buffer::hand_to(void*) { refuse(); }
void copy_to_device(const void*, int64_t, void*, const Target&) { refuse(); }

struct Replay::State {};
Replay::Replay(const Matrix&, const PreparedGallery&, const QueryOptions&, int64_t, float, float*,
               int64_t*, const Target&) {
  refuse();
}
Replay::~Replay() = default;
void Replay::launch(void*) { refuse(); }
int64_t Replay::nonfinite_query(void*) const { refuse(); }

void normalize(const Matrix&, float*, bool, const Target&) { refuse(); }

}  // namespace idsim::cuda

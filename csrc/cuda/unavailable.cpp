// Stands in for the CUDA backend in builds without it.
#include "core/error.hpp"
#include "cuda/device.hpp"
#include "cuda/search.hpp"

namespace idsim::cuda {
namespace {

constexpr const char* kReason =
    "This build of idsim has no CUDA backend; everything runs on the CPU.";

[[noreturn]] void refuse() { throw CudaError(kReason); }

}  // namespace

BackendStatus backend_status() { return {false, 0, kReason}; }

struct PreparedGallery::State {};
PreparedGallery::PreparedGallery(const Matrix&, Metric, bool, const Target&) { refuse(); }
PreparedGallery::~PreparedGallery() = default;
int64_t PreparedGallery::count() const { refuse(); }
int64_t PreparedGallery::dim() const { refuse(); }
Metric PreparedGallery::metric() const { refuse(); }
int64_t PreparedGallery::skipped_rows() const { refuse(); }
int64_t PreparedGallery::code_bytes() const { refuse(); }
int64_t PreparedGallery::row_bytes() const { refuse(); }
const Target& PreparedGallery::target() const { refuse(); }

struct TopKSearch::State {};
TopKSearch::TopKSearch(const Matrix&, const SearchOptions&, const Target&) { refuse(); }
TopKSearch::~TopKSearch() = default;
void TopKSearch::feed(const Matrix&, int64_t, const int64_t*, bool, int64_t) { refuse(); }
void TopKSearch::feed(const PreparedGallery&, int64_t, const int64_t*) { refuse(); }
void TopKSearch::finish(float*, int64_t*, bool) { refuse(); }
int64_t TopKSearch::count() const { refuse(); }
int64_t TopKSearch::dim() const { refuse(); }
int64_t TopKSearch::k() const { refuse(); }
Metric TopKSearch::metric() const { refuse(); }
SearchCertificate TopKSearch::certificate() const { refuse(); }
void TopKSearch::reach(float*) const { refuse(); }
int64_t TopKSearch::bytes_per_query(int64_t, int64_t) { refuse(); }

void normalize(const Matrix&, float*, bool, const Target&) { refuse(); }

}  // namespace idsim::cuda

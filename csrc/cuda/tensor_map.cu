#include "cuda/tensor_map.hpp"

#include <limits>
#include <string>

#include "core/error.hpp"
#include "cuda/runtime.hpp"

namespace idsim::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// Asked of the runtime, so that nothing links the driver's library, which machines without a device lack.
Encode find_encode() {
  constexpr unsigned since = 12000;  // the CUDA version of the function's signature
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, since, cudaEnableDefault,
                                         &result),
        "asking the driver for tensor maps");
  if (result != cudaDriverEntryPointSuccess || found == nullptr) {
    throw CudaError("the CUDA driver has no tensor maps: it is older than CUDA 12.0");
  }
  return reinterpret_cast<Encode>(found);
}

}  // namespace

CUtensorMap map_of_codes(const void* codes, int64_t rows, int64_t pitch, int box_rows) {
  static const Encode encode = find_encode();
  const auto what = [&] {
    return "a tensor map of " + std::to_string(rows) + " rows of " + std::to_string(pitch) +
           " bytes";
  };
  if (rows < 1 || rows > std::numeric_limits<int32_t>::max()) {
    throw CudaError(what() + ": the device counts rows from 1 to 2147483647");
  }
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(pitch), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(pitch)};
  const cuuint32_t box[2] = {kBoxBytes, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  CUtensorMap made{};
  const CUresult result =
      encode(&made, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(codes), sizes, strides, box,
             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw CudaError(what() + " with boxes of " + std::to_string(box_rows) +
                    " rows: the CUDA driver refuses it (error " +
                    std::to_string(static_cast<int>(result)) + ")");
  }
  // A copy: the driver writes to memory aligned to 64 bytes alone, and what a caller gets a result in need not be (GCC).
  return CUtensorMap(made);
}

}  // namespace idsim::cuda

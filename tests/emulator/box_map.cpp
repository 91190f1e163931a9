#include "box_map.hpp"

#include <cstring>

namespace emulator {
namespace {

constexpr uint64_t kMark = 0x70616D2D786F62;  // "box-map"

}  // namespace

bool read_map(const CUtensorMap& map, BoxMap* out) {
  std::memcpy(out, &map, sizeof *out);
  return out->mark == kMark;
}

}  // namespace emulator

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                void* address, const cuuint64_t* sizes, const cuuint64_t* strides,
                                const cuuint32_t* box, const cuuint32_t* element_strides,
                                CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank == 0 || rank > 5) return CUDA_ERROR_INVALID_VALUE;
  if (rank != 2) return CUDA_ERROR_NOT_SUPPORTED;
  constexpr uint64_t most_elements = uint64_t{1} << 32, most_stride = uint64_t{1} << 40;
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at == 0 || at % 16 != 0) return CUDA_ERROR_INVALID_VALUE;
  const uint32_t bytes = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT16 ? 2 : 1;
  for (int i = 0; i < 2; ++i) {
    const bool right = sizes[i] >= 1 && sizes[i] <= most_elements && box[i] >= 1 && box[i] <= 256 &&
                       element_strides[i] >= 1 && element_strides[i] <= 8;
    if (!right) return CUDA_ERROR_INVALID_VALUE;
  }
  if (strides[0] % 16 != 0 || strides[0] >= most_stride || strides[0] < sizes[0] * bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  if (box[0] * bytes % 16 != 0 || (swizzled && box[0] * bytes > 128)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (element_strides[1] != 1) return CUDA_ERROR_NOT_SUPPORTED;
  const emulator::BoxMap made{emulator::kMark,  static_cast<const char*>(address),
                              sizes[0] * bytes, sizes[1],
                              strides[0],       box[0] * bytes,
                              box[1],           bytes,
                              swizzled};
  *map = {};
  std::memcpy(static_cast<void*>(map), &made, sizeof made);
  return CUDA_SUCCESS;
}

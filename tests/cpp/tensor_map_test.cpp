// Tensor maps of codes, and what the driver, or the emulator in its place, does not take.
#include "cuda/tensor_map.hpp"

#include <cuda.h>

#include <string>

#include "check.hpp"
#include "core/error.hpp"

namespace idsim::test {
namespace {

template <class Call>
bool refuses(const char* part, const Call& call) {
  try {
    call();
  } catch (const CudaError& error) {
    return std::string(error.what()).find(part) != std::string::npos;
  }
  return false;
}

// What the driver does not take.
void check_maps() {
  alignas(64) static uint8_t codes[4096] = {};
  const auto map = [](const void* from, int64_t rows, int64_t pitch, int box_rows) {
    return [=] { cuda::map_of_codes(from, rows, pitch, box_rows); };
  };
  expect(!refuses("", map(codes, 32, 128, 32)), "a map was refused");
  expect(refuses("32 rows of 120 bytes", map(codes, 32, 120, 32)), "pitch 120");
  expect(refuses("refuses it (error 1)", map(codes + 8, 16, 128, 32)), "address");
  expect(refuses("boxes of 257 rows", map(codes, 32, 128, 257)), "box of 257 rows");
  expect(refuses("boxes of 0 rows", map(codes, 32, 128, 0)), "box of no rows");
  for (const int64_t rows : {int64_t{0}, int64_t{-1}, int64_t{1} << 31, int64_t{1} << 33}) {
    expect(refuses("counts rows from 1 to 2147483647", map(codes, rows, 128, 32)), "rows");
  }
  const auto encode = [&](cuuint32_t rank, cuuint64_t stride, cuuint32_t box_bytes) {
    const cuuint64_t sizes[2] = {128, 32}, strides[1] = {stride};
    const cuuint32_t box[2] = {box_bytes, 32}, steps[2] = {1, 1};
    CUtensorMap out;
    return cuTensorMapEncodeTiled(&out, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, codes, sizes, strides,
                                  box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                  CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  expect(encode(2, 128, 128) == CUDA_SUCCESS, "a right map");
  expect(encode(6, 128, 128) == CUDA_ERROR_INVALID_VALUE, "rank 6");
  expect(encode(2, 112, 128) == CUDA_ERROR_INVALID_VALUE, "rows that overlap");
  expect(encode(2, cuuint64_t{1} << 40, 128) == CUDA_ERROR_INVALID_VALUE, "a stride of 2^40");
  expect(encode(2, 128, 256) == CUDA_ERROR_INVALID_VALUE, "a box beyond the swizzle");
  expect(encode(2, 128, 24) == CUDA_ERROR_INVALID_VALUE, "a box of 24 bytes");
}

}  // namespace
}  // namespace idsim::test

int main() {
  idsim::test::check_maps();
  return idsim::test::finish("tensor_map_test");
}

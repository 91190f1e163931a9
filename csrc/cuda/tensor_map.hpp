// Descriptions of arrays in device memory from which TMA copies boxes (cuda/ptx/tensor_copy.cuh).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace idsim::cuda {

// The bytes of a box along a row: one unit of the 128-byte swizzle.
inline constexpr int kBoxBytes = 128;

// A kernel takes it as `const __grid_constant__ CUtensorMap`. Boxes are kBoxBytes bytes of box_rows rows, with the 128-byte
// swizzle; coordinates are (byte, row), and what lies outside of the array comes as zeros.
//
// codes: device memory [rows, pitch], aligned to 16 bytes. rows: 1 .. 2^31 - 1, the range of a coordinate. pitch: bytes,
// a multiple of 16. box_rows: 1 .. 256. Throws CudaError where the driver has no tensor maps or refuses this one.
CUtensorMap map_of_codes(const void* codes, int64_t rows, int64_t pitch, int box_rows);

}  // namespace idsim::cuda

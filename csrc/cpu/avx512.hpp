// Functions of the AVX-512 tables that more than one file names. Only tables may point at them: each is
// only to be called where the machine has its instruction set.
#pragma once

#include <cstdint>

#include "core/codes.hpp"
#include "cpu/kernels.hpp"

namespace idsim::cpu {

// tile_vnni.cpp
int64_t vnni_panel_bytes(int d_pad);
void vnni_pack_panel(const int8_t* codes, int n_queries, int d_pad, void* panel);
int vnni_tile_hits(const TileArgs& args, Hit* hits);
void vnni_tile_dots(const TileArgs& args, int32_t* dots);
int32_t vnni_dot_i8(const uint8_t* row, const int8_t* query, int d_pad);

// row_scan_vnni.cpp
int vnni_row_scan_hits(const RowScanArgs& args, Hit* hits);

// nibbles_vnni.cpp
NibbleStats vnni_nibble_row(const float* x, int64_t d, const uint8_t* code, float scale,
                            uint8_t* nibbles);
void vnni_nibble_scan(const NibbleScanArgs& args, int32_t* rows, int* counts);

}  // namespace idsim::cpu

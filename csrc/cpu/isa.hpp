// Which kernels this machine can run, and which of them the process uses.
#pragma once

#include <string_view>
#include <vector>

#include "cpu/kernels.hpp"

namespace idsim::cpu {

// Tables that this machine can run, slowest first; the first is the portable one.
const std::vector<const Kernels*>& available_kernels();

// The table in use: the fastest available one until set_active_kernels chooses another.
const Kernels& active_kernels();

// Chooses a table by name for calls that start from now on. Safe to call from any thread.
// Throws std::invalid_argument, naming those available, for any other name.
void set_active_kernels(std::string_view name);

}  // namespace idsim::cpu

// Kernel launches with C++ errors.
#pragma once

#include <algorithm>

#include "cuda/runtime.hpp"

namespace idsim::cuda {

template <class... Wanted, class... Given>
void launch(const char* doing, void (*kernel)(Wanted...), dim3 grid, int threads,
            size_t shared_bytes, cudaStream_t stream, const Given&... given) {
  constexpr size_t granted = 48 * 1024;
  if (shared_bytes > granted) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          doing);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Wanted>(given)...), doing);
}

inline dim3 blocks_for(int64_t items, int64_t per_block) {
  const int64_t most = (int64_t{1} << 31) - 1;
  return dim3(
      static_cast<unsigned>(std::clamp<int64_t>((items + per_block - 1) / per_block, 1, most)));
}

}  // namespace idsim::cuda

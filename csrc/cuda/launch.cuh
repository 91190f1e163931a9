// Kernel launches with C++ errors.
#pragma once

#include <algorithm>

#include "cuda/runtime.hpp"

namespace idsim::cuda {

// Of the current device.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&value, attribute, device), "asking what the device has");
  return value;
}

// More than 48 KiB of dynamic shared memory has to be asked for.
template <class... Wanted>
void allow_shared(void (*kernel)(Wanted...), size_t bytes) {
  constexpr size_t granted = 48 * 1024;
  if (bytes <= granted) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "asking for shared memory");
}

// Clusters of `cluster` blocks, neighbours in x; the grid has a multiple of it. More than 1 needs compute capability 9.0.
class LaunchConfig {
 public:
  LaunchConfig(dim3 grid, int cluster, int threads, size_t shared_bytes, cudaStream_t stream) {
    attribute_.id = cudaLaunchAttributeClusterDimension;
    attribute_.val.clusterDim.x = static_cast<unsigned>(cluster);
    attribute_.val.clusterDim.y = 1;
    attribute_.val.clusterDim.z = 1;
    config_.gridDim = grid;
    config_.blockDim = dim3(static_cast<unsigned>(threads));
    config_.dynamicSmemBytes = shared_bytes;
    config_.stream = stream;
    config_.attrs = &attribute_;
    config_.numAttrs = cluster > 1 ? 1 : 0;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttribute attribute_{};
  cudaLaunchConfig_t config_{};
};

template <class... Wanted, class... Given>
void launch_clusters(const char* doing, void (*kernel)(Wanted...), dim3 grid, int cluster,
                     int threads, size_t shared_bytes, cudaStream_t stream, const Given&... given) {
  allow_shared(kernel, shared_bytes);
  const LaunchConfig config(grid, cluster, threads, shared_bytes, stream);
  check(cudaLaunchKernelEx(config.get(), kernel, static_cast<Wanted>(given)...), doing);
}

template <class... Wanted, class... Given>
void launch(const char* doing, void (*kernel)(Wanted...), dim3 grid, int threads,
            size_t shared_bytes, cudaStream_t stream, const Given&... given) {
  launch_clusters(doing, kernel, grid, 1, threads, shared_bytes, stream, given...);
}

inline dim3 blocks_for(int64_t items, int64_t per_block) {
  const int64_t most = (int64_t{1} << 31) - 1;
  return dim3(
      static_cast<unsigned>(std::clamp<int64_t>((items + per_block - 1) / per_block, 1, most)));
}

// Blocks of a kernel that the device runs at the same time.
template <class... Wanted>
int64_t resident_blocks(void (*kernel)(Wanted...), int threads, size_t shared_bytes) {
  allow_shared(kernel, shared_bytes);
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes),
        "asking how many blocks fit");
  return int64_t{std::max(blocks, 1)} * device_attribute(cudaDevAttrMultiProcessorCount);
}

// The same for clusters.
template <class... Wanted>
int64_t resident_clusters(void (*kernel)(Wanted...), int cluster, int threads,
                          size_t shared_bytes) {
  allow_shared(kernel, shared_bytes);
  const LaunchConfig config(dim3(static_cast<unsigned>(cluster)), cluster, threads, shared_bytes,
                            nullptr);
  int clusters = 0;
  check(cudaOccupancyMaxActiveClusters(&clusters, kernel, config.get()),
        "asking how many clusters fit");
  return std::max(clusters, 1);
}

}  // namespace idsim::cuda

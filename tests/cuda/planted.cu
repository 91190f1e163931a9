// One bug for each tool of compute-sanitizer, to see that the tool is awake: `planted memcheck` and so on. `planted none`
// runs the right versions of all.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

namespace {

__global__ void out_of_bounds(int* data, int n, bool planted) {
  const int i = static_cast<int>(threadIdx.x) + (planted ? n : 0);
  data[i] = 1;
}

__global__ void race(int* out, bool planted) {
  __shared__ int values[64];
  const int i = static_cast<int>(threadIdx.x);
  values[i] = i;
  if (!planted) __syncthreads();
  out[i] = values[63 - i];
}

__global__ void read(const int* data, int* out) { out[threadIdx.x] = data[threadIdx.x]; }

__global__ void barrier(int* out, bool planted) {
  if (planted && threadIdx.x >= 32) return;
  __syncwarp();
  if (!planted || threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = 1;
}

}  // namespace

int main(int argc, char** argv) {
  const char* bug = argc > 1 ? argv[1] : "none";
  const auto is = [&](const char* name) { return std::strcmp(bug, name) == 0; };
  constexpr int n = 64;
  int *a = nullptr, *b = nullptr;
  if (cudaMalloc(&a, n * sizeof(int)) != cudaSuccess) return 2;
  if (cudaMalloc(&b, n * sizeof(int)) != cudaSuccess) return 2;
  if (!is("initcheck")) cudaMemset(b, 0, n * sizeof(int));
  read<<<1, n>>>(b, a);
  out_of_bounds<<<1, n>>>(a, n, is("memcheck"));
  race<<<1, n>>>(a, is("racecheck"));
  barrier<<<1, n>>>(a, is("synccheck"));
  const cudaError_t error = cudaDeviceSynchronize();
  std::printf("%s: %s\n", bug, cudaGetErrorString(error));
  return 0;
}

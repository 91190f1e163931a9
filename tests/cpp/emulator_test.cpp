// The emulator finds the bugs that it is there to find: each is planted, and beside it the right version passes.
#include <cuda_runtime.h>

#include <vector>

#include "check.hpp"
#include "cuda/ptx/async_copy.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/shared.cuh"

namespace idsim::test {
namespace {

using cuda::ptx::shared_memory;
using emulator::Schedule;
constexpr unsigned kAll = ~0U;
constexpr Schedule kSchedules[] = {Schedule::in_turn, Schedule::first, Schedule::last};

// Whether a launch of 64 threads succeeds.
template <class... Wanted, class... Given>
bool runs(void (*kernel)(Wanted...), Given... given) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(64);
  config.dynamicSmemBytes = 1024;
  const bool done = cudaLaunchKernelEx(&config, kernel, given...) == cudaSuccess;
  cudaGetLastError();
  return done;
}

void some_skip_a_barrier(bool planted) {
  if (planted && threadIdx.x < 3) return;
  __syncthreads();
}

void lanes_meet_in_different_collectives(bool planted) {
  if (planted && threadIdx.x % 2 == 0) {
    __ballot_sync(kAll, 1);
  } else {
    __syncwarp(kAll);
  }
}

void a_lane_is_not_in_its_mask(bool planted) { __syncwarp(planted ? 0xFFFFU : kAll); }

// Every thread reads what the other warp wrote.
void exchange(int* out, bool planted) {
  auto* values = reinterpret_cast<int*>(shared_memory());
  const int i = static_cast<int>(threadIdx.x);
  values[i] = i;
  if (!planted) __syncthreads();
  out[i] = values[63 - i];
}

// A counter that is read and then added to, round after round.
void count(int* out, bool planted) {
  auto* counter = reinterpret_cast<int*>(shared_memory());
  if (threadIdx.x == 0) *counter = 0;
  __syncthreads();
  for (int round = 0; round < 3; ++round) {
    const int before = *counter;
    if (!planted) __syncthreads();
    if (threadIdx.x % 32 == 0) atomicAdd(counter, 1);
    out[round * 64 + static_cast<int>(threadIdx.x)] = before;
    __syncthreads();
  }
}

void copy_without_waiting(const int* from, int* out, bool planted) {
  char* stage = shared_memory();
  const int i = static_cast<int>(threadIdx.x);
  if (i < 16) cuda::ptx::copy_16(stage + 16 * i, from + 4 * i, true);
  cuda::ptx::commit_copies();
  if (!planted) cuda::ptx::wait_copies<0>();
  __syncthreads();
  out[i] = reinterpret_cast<const int*>(stage)[i];
}

void check_failures() {
  for (const Schedule schedule : kSchedules) {
    emulator::schedule = schedule;
    for (auto* kernel :
         {some_skip_a_barrier, lanes_meet_in_different_collectives, a_lane_is_not_in_its_mask}) {
      if (kernel != lanes_meet_in_different_collectives)
        expect(runs(kernel, false), "right kernel");
      expect(!runs(kernel, true), "planted bug ran, schedule %d", static_cast<int>(schedule));
    }
  }
}

void check_wrong_results() {
  int found_exchange = 0, found_count = 0, found_copy = 0;
  for (const Schedule schedule : kSchedules) {
    emulator::schedule = schedule;
    std::vector<int> from(64), out(64), rounds(192);
    for (int i = 0; i < 64; ++i) from[static_cast<size_t>(i)] = 1000 + i;
    for (const bool planted : {false, true}) {
      expect(runs(exchange, out.data(), planted), "exchange");
      bool right = true;
      for (int i = 0; i < 64; ++i) right &= out[static_cast<size_t>(i)] == 63 - i;
      expect(planted || right, "exchange with a barrier");
      found_exchange += planted && !right;

      expect(runs(count, rounds.data(), planted), "count");
      right = true;
      for (int i = 0; i < 192; ++i) right &= rounds[static_cast<size_t>(i)] == i / 64 * 2;
      expect(planted || right, "count with a barrier");
      found_count += planted && !right;

      expect(runs(copy_without_waiting, from.data(), out.data(), planted), "copy");
      expect(planted || out == from, "copy with a wait");
      found_copy += planted && out != from;
    }
  }
  expect(found_exchange == 3 && found_count >= 1 && found_copy == 3,
         "planted races found %d, %d and %d times", found_exchange, found_count, found_copy);
}

// m16n8k32 on matrices that hold every byte value: exact, unsigned by signed.
void multiply(const uint8_t* a, const int8_t* b, int32_t* c) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  uint32_t left[4], right[2];
  int32_t sum[4] = {};
  for (int reg = 0; reg < 4; ++reg) {
    std::memcpy(&left[reg], a + (g + 8 * (reg % 2)) * 32 + 4 * t + 16 * (reg / 2), 4);
  }
  for (int reg = 0; reg < 2; ++reg) std::memcpy(&right[reg], b + g * 32 + 4 * t + 16 * reg, 4);
  cuda::ptx::mma_u8_s8(sum, left, right);
  if (threadIdx.x >= 32) return;
  for (int i = 0; i < 4; ++i) c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}

void check_multiply() {
  std::vector<uint8_t> a(16 * 32);
  std::vector<int8_t> b(8 * 32);  // columns
  Random random(1);
  for (auto& x : a) x = static_cast<uint8_t>(random.below(256));
  for (auto& x : b) x = static_cast<int8_t>(random.below(256) - 128);
  std::vector<int32_t> c(16 * 8);
  expect(runs(multiply, a.data(), b.data(), c.data()), "multiply");
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      int32_t sum = 0;
      for (int k = 0; k < 32; ++k) {
        sum += a[static_cast<size_t>(i * 32 + k)] * b[static_cast<size_t>(j * 32 + k)];
      }
      expect(c[static_cast<size_t>(i * 8 + j)] == sum, "product %d, %d", i, j);
    }
  }
}

void fill(int* out, int value) { out[threadIdx.x] = value; }

// Memory of one device is no memory of another's, and streams belong to a device.
void check_devices() {
  int* p = nullptr;
  cudaStream_t stream = nullptr;
  expect(cudaSetDevice(1) == cudaSuccess, "device 1");
  expect(cudaMallocAsync(reinterpret_cast<void**>(&p), 256, nullptr) == cudaSuccess, "memory");
  expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "stream");
  expect(runs(fill, p, 7) && p[63] == 7, "a kernel on the device of its memory");
  expect(cudaSetDevice(0) == cudaSuccess, "device 0");
  expect(!runs(fill, p, 8) && p[63] == 7, "a kernel on another device ran");
  expect(cudaMemsetAsync(p, 0, 4, stream) == cudaErrorInvalidResourceHandle, "a foreign stream");
  expect(cudaFreeAsync(p, nullptr) == cudaErrorInvalidValue, "freed on another device");
  expect(cudaSetDevice(99) == cudaErrorInvalidDevice, "no such device");
  cudaSetDevice(1);
  expect(cudaFreeAsync(p, stream) == cudaSuccess && emulator::live_bytes(1) == 0, "freed");
  cudaStreamDestroy(stream);
  cudaSetDevice(0);
  cudaGetLastError();
}

// What is captured runs when the graph is launched, and waiting breaks the capture.
void check_capture() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  std::vector<int> to(1, 1), from(1, 2);
  emulator::claim(to.data(), sizeof(int), 0);
  emulator::claim(from.data(), sizeof(int), 0);
  const auto copy = [&] {
    return cudaMemcpyAsync(to.data(), from.data(), sizeof(int), cudaMemcpyDefault, stream);
  };
  cudaGraph_t graph = nullptr;
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  expect(copy() == cudaSuccess && to[0] == 1, "captured work ran at once");
  expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "the end of a capture");
  from[0] = 3;
  expect(cudaGraphLaunch(graph, stream) == cudaSuccess && to[0] == 3, "a replay");
  cudaGraphDestroy(graph);
  for (const bool planted : {false, true}) {
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    copy();
    if (planted) cudaStreamSynchronize(stream);
    expect((cudaStreamEndCapture(stream, &graph) == cudaSuccess) != planted, "a wait in a capture");
    cudaGraphDestroy(graph);
  }
  emulator::disclaim(to.data());
  emulator::disclaim(from.data());
  cudaStreamDestroy(stream);
  cudaGetLastError();
}

}  // namespace
}  // namespace idsim::test

int main() {
  idsim::test::check_failures();
  idsim::test::check_wrong_results();
  idsim::test::check_multiply();
  idsim::test::check_devices();
  idsim::test::check_capture();
  return idsim::test::finish("emulator_test");
}

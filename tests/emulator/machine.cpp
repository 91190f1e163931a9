#include "machine.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"
#include "faults.hpp"

namespace emulator {
namespace {

constexpr int kMostDevices = 64;

struct Block {
  size_t bytes;
  int owner;
  bool allocated;
};

// By the first address. Never destroyed: arrays of a test may be freed while the process ends.
std::map<uintptr_t, Block>& blocks() {
  static auto* all = new std::map<uintptr_t, Block>;
  return *all;
}
std::mutex& blocks_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

int owner_at(uintptr_t at) {
  auto next = blocks().upper_bound(at);
  if (next == blocks().begin()) return kPageable;
  const auto& [begin, block] = *--next;
  return at < begin + block.bytes ? block.owner : kPageable;
}

// Bytes that were allocated, by owner; behind blocks_mutex.
size_t& taken(int owner) {
  static size_t bytes[kMostDevices + 1] = {};
  return bytes[owner - kPinned];
}
std::atomic<size_t>& limit(int device) {
  static std::vector<std::atomic<size_t>> bytes(kMostDevices);
  return bytes.at(static_cast<size_t>(device));
}

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

}  // namespace

int device_count() {
  static const int count = [] {
    const char* wanted = std::getenv("IDSIM_EMULATED_DEVICES");
    return wanted == nullptr ? 3 : std::clamp(std::atoi(wanted), 0, kMostDevices);
  }();
  return count;
}

size_t memory_of(int owner) {
  constexpr size_t unlimited = size_t{1} << 40;
  if (owner == kPinned) return number_from("IDSIM_EMULATED_PINNED", unlimited);
  const size_t own = limit(owner);
  return std::min(own > 0 ? own : unlimited, number_from("IDSIM_EMULATED_MEMORY", unlimited));
}

size_t memory_left(int owner) {
  const size_t all = memory_of(owner);
  const std::lock_guard lock(blocks_mutex());
  return all > taken(owner) ? all - taken(owner) : 0;
}

void limit_memory(int device, size_t bytes) { limit(device) = bytes; }

void claim(const void* p, size_t bytes, int device) {
  const std::lock_guard lock(blocks_mutex());
  blocks()[address(p)] = {bytes > 0 ? bytes : 1, device, false};
}

void disclaim(const void* p) {
  const std::lock_guard lock(blocks_mutex());
  blocks().erase(address(p));
}

void* allocate(int owner, size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  if (bytes > memory_left(owner)) return nullptr;
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (p == nullptr) return nullptr;
  std::memset(p, 0xA5, bytes);
  const std::lock_guard lock(blocks_mutex());
  blocks()[address(p)] = {bytes, owner, true};
  taken(owner) += bytes;
  return p;
}

bool release(void* p) {
  if (p == nullptr) return true;
  {
    const std::lock_guard lock(blocks_mutex());
    const auto found = blocks().find(address(p));
    if (found == blocks().end() || !found->second.allocated) return false;
    taken(found->second.owner) -= found->second.bytes;
    blocks().erase(found);
  }
  std::free(p);
  return true;
}

int owner_of(const void* p) {
  const std::lock_guard lock(blocks_mutex());
  return owner_at(address(p));
}

bool points_elsewhere(const void* bytes, size_t size, int device) {
  const std::lock_guard lock(blocks_mutex());
  for (size_t at = 0; at + sizeof(uintptr_t) <= size; at += sizeof(uintptr_t)) {
    uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(bytes) + at, sizeof word);
    const int owner = owner_at(word);
    if (owner >= 0 && owner != device) return true;
  }
  return false;
}

size_t live_bytes(int device) {
  const std::lock_guard lock(blocks_mutex());
  size_t sum = 0;
  for (const auto& [begin, block] : blocks()) sum += block.owner == device ? block.bytes : 0;
  return sum;
}

long& calls(Call call) {
  static long counts[kCalls] = {};
  return counts[call];
}

void note(Call call) { std::atomic_ref(calls(call)).fetch_add(1); }

}  // namespace emulator

// --- For tests in Python, through ctypes ---

#define HOOK extern "C" __attribute__((visibility("default")))

HOOK void idsim_emulator_claim(const void* p, size_t bytes, int device) {
  emulator::claim(p, bytes, device);
}
HOOK void idsim_emulator_disclaim(const void* p) { emulator::disclaim(p); }
HOOK size_t idsim_emulator_live_bytes(int device) { return emulator::live_bytes(device); }
HOOK void idsim_emulator_limit_memory(int device, size_t bytes) {
  emulator::limit_memory(device, bytes);
}
HOOK void idsim_emulator_clear_calls() {
  for (int i = 0; i < emulator::kCalls; ++i) emulator::calls(static_cast<emulator::Call>(i)) = 0;
}
HOOK long idsim_emulator_calls(int call) {
  return emulator::calls(static_cast<emulator::Call>(call));
}
HOOK void* idsim_emulator_make_stream(int device) { return new EmulatedStream{device, nullptr}; }
HOOK int idsim_emulator_begin_capture(cudaStream_t stream) {
  return cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
}
HOOK int idsim_emulator_end_capture(cudaStream_t stream, cudaGraph_t* graph) {
  return cudaStreamEndCapture(stream, graph);
}
HOOK int idsim_emulator_replay(cudaGraph_t graph, cudaStream_t stream) {
  return cudaGraphLaunch(graph, stream);
}

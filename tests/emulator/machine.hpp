// The emulated machine: devices with memory of their own, streams that run at once or are captured, and a record of what
// the host asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace emulator {

// IDSIM_EMULATED_DEVICES; 3 where it is not set.
int device_count();
inline thread_local int current_device = 0;

constexpr int kPinned = -1;
constexpr int kPageable = -2;

// Bytes that a device has, or of kPinned the host; faults.hpp says how tests lower them.
size_t memory_of(int owner);
size_t memory_left(int owner);
// For one device alone.
void limit_memory(int device, size_t bytes);

// Memory that belongs to a device, or kPinned. Filled with garbage; null where not enough is left.
void* allocate(int owner, size_t bytes);
// False: no such memory.
bool release(void* p);
// Memory of the host that a test passes off as a device's.
void claim(const void* p, size_t bytes, int device);
void disclaim(const void* p);
// The device whose memory this is, kPinned or kPageable.
int owner_of(const void* p);
// Whether a word of these bytes points into memory of another device.
bool points_elsewhere(const void* bytes, size_t size, int device);
size_t live_bytes(int device);

// What the host asked for since the record was cleared.
enum Call { kStreamWaits, kEventWaits, kPageableCopies, kStreamOrders, kAllocations, kLaunches };
inline constexpr int kCalls = kLaunches + 1;
void note(Call call);
long& calls(Call call);

// Work of a stream that was captured.
struct Graph {
  std::vector<std::function<int()>> nodes;
  bool broken = false;  // by a call that a capture does not allow
};

}  // namespace emulator

struct EmulatedStream {
  int device = 0;
  emulator::Graph* capture = nullptr;
};

// What a test can take from the emulated device, or say of it: memory, the context, the capability. Environment variables, read at every call, so
// that tests in Python can set them too.
//
//   IDSIM_EMULATED_MEMORY=n   every device has n bytes
//   IDSIM_EMULATED_PINNED=n   the host has n bytes that can be page-locked
//   IDSIM_EMULATED_REGISTER=0 memory of the host cannot be registered
//   IDSIM_EMULATED_CAPABILITY=90  devices are of compute capability 9.0 (8.0 where it is not set)
//   IDSIM_EMULATED_FAILURE=e  launches fail with error e, and so does every call after one that did
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>

namespace emulator {

inline size_t number_from(const char* variable, size_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : static_cast<size_t>(std::strtoull(text, nullptr, 10));
}

// Memory of the host that was registered for the device.
class Registered {
 public:
  bool add(void* p, size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (number_from("IDSIM_EMULATED_REGISTER", 1) == 0) return false;
    return ranges_.emplace(static_cast<char*>(p), bytes).second;
  }
  bool remove(void* p) {
    const std::lock_guard lock(mutex_);
    return ranges_.erase(static_cast<char*>(p)) == 1;
  }
  bool holds(const void* p) {
    const std::lock_guard lock(mutex_);
    const auto* at = static_cast<const char*>(p);
    const auto after = ranges_.upper_bound(const_cast<char*>(at));
    if (after == ranges_.begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return at < begin + bytes;
  }

 private:
  std::mutex mutex_;
  std::map<char*, size_t> ranges_;
};

inline Registered& registered_memory = *new Registered;

// The error that every call returns, once a launch has failed, for as long as launches fail.
inline int lost_context(bool launch = false) {
  static std::atomic<bool> lost = false;
  const auto error = static_cast<int>(number_from("IDSIM_EMULATED_FAILURE", 0));
  lost = error != 0 && (lost || launch);
  return lost ? error : 0;
}

}  // namespace emulator

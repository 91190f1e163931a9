// What a test can take from the emulated device: memory, and the context. Environment variables, read at every call, so
// that tests in Python can set them too.
//
//   IDSIM_EMULATED_MEMORY=n   the device has n bytes
//   IDSIM_EMULATED_PINNED=n   the host has n bytes that can be page-locked
//   IDSIM_EMULATED_REGISTER=0 memory of the host cannot be registered
//   IDSIM_EMULATED_FAILURE=e  launches fail with error e, and so does every call after one that did
#pragma once

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

// Memory of one kind: what there is of it, and who has how much.
class Memory {
 public:
  explicit Memory(const char* limit) : limit_(limit) {}

  size_t total() const { return number_from(limit_, size_t{1} << 40); }
  size_t left() const {
    const size_t all = total();
    return all > taken_ ? all - taken_ : 0;
  }
  // Null where not enough is left.
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > left()) return nullptr;
    void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (p == nullptr) return nullptr;
    taken_ += bytes;
    sizes_[p] = bytes;
    return p;
  }
  void give_back(void* p) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(p);
    if (found == sizes_.end()) return;
    taken_ -= found->second;
    sizes_.erase(found);
    std::free(p);
  }

 private:
  const char* limit_;
  std::mutex mutex_;
  std::map<void*, size_t> sizes_;
  size_t taken_ = 0;
};

// Never destroyed: buffers of static objects may outlive them.
inline Memory& device_memory = *new Memory("IDSIM_EMULATED_MEMORY");
inline Memory& pinned_memory = *new Memory("IDSIM_EMULATED_PINNED");

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
  static bool lost = false;
  const auto error = static_cast<int>(number_from("IDSIM_EMULATED_FAILURE", 0));
  lost = error != 0 && (lost || launch);
  return lost ? error : 0;
}

}  // namespace emulator

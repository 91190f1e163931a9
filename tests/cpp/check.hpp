// What the C++ tests share: failures that are counted and told, random numbers that are the same on every
// machine, and heap buffers of exact size, so that a sanitizer sees every access past their end.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

namespace idsim::test {

inline int failures = 0;

// Tells the first failures and counts all.
[[gnu::format(printf, 2, 3)]] inline void expect(bool holds, const char* format, ...) {
  constexpr int kTold = 20;
  if (holds) return;
  if (++failures > kTold) return;
  std::va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::printf("\n");
}

inline int finish(const char* name) {
  std::printf("%s: %d failures\n", name, failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

inline bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}
inline bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15U;
    uint64_t h = state_;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
    return h ^ (h >> 31);
  }
  int below(int n) { return static_cast<int>((bits() >> 33) % static_cast<uint64_t>(n)); }
  float uniform() { return static_cast<float>(bits() >> 40) * 0x1p-23F - 1.0F; }  // [-1, 1)
  float bell() {  // sum of uniforms: mean 0, variance 1
    float sum = 0.0F;
    for (int i = 0; i < 3; ++i) sum += uniform();
    return sum;
  }

 private:
  uint64_t state_;
};

// n elements, aligned to a cache line, nothing after them.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n, T value = T{}) : size_(n) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, std::max<size_t>(1, bytes())) != 0) throw std::bad_alloc();
    data_.reset(static_cast<T*>(memory));
    std::fill_n(data(), n, value);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };

  int64_t size_;
  std::unique_ptr<T[], Free> data_;
};

}  // namespace idsim::test

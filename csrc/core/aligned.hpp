// Owner of a block of scratch memory: aligned to a cache line, not initialised, never resized.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace idsim {

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t count) {
    constexpr std::size_t line = 64;
    const std::size_t bytes =
        (static_cast<std::size_t>(count) * sizeof(T) + line - 1) / line * line;
    data_.reset(static_cast<T*>(std::aligned_alloc(line, bytes > 0 ? bytes : line)));
    if (!data_) throw std::bad_alloc();
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace idsim

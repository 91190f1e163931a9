// What kernels call: barriers, collectives of a warp, atomics and bits. Included by cuda_runtime.h.
#pragma once

#include <bit>

#include "emulator.hpp"

inline void __syncthreads() { emulator::block_barrier(); }

namespace emulator {

template <class T>
struct Shuffle {
  T value;
  int from;
};

}  // namespace emulator

inline void __syncwarp(unsigned mask = ~0U) {
  emulator::warp_collective(mask, emulator::kSync, [](void**, unsigned) {}, nullptr);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
  emulator::Shuffle<T> mine{value, from & 31};
  emulator::warp_collective(
      mask, emulator::kShuffle,
      [](void** lanes, unsigned) {
        T before[32] = {};
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr) before[i] = static_cast<emulator::Shuffle<T>*>(lanes[i])->value;
        }
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] == nullptr) continue;
          auto* lane = static_cast<emulator::Shuffle<T>*>(lanes[i]);
          lane->value = before[lane->from];
        }
      },
      &mine);
  return mine.value;
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int by) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  return __shfl_sync(mask, value, lane + by < 32 ? lane + by : lane);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by) {
  return __shfl_sync(mask, value, (static_cast<int>(threadIdx.x) & 31) ^ by);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  struct Vote {
    bool yes;
    unsigned result;
  } mine{predicate != 0, 0};
  emulator::warp_collective(
      mask, emulator::kBallot,
      [](void** lanes, unsigned) {
        unsigned result = 0;
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr && static_cast<Vote*>(lanes[i])->yes) result |= 1U << i;
        }
        for (int i = 0; i < 32; ++i) {
          if (lanes[i] != nullptr) static_cast<Vote*>(lanes[i])->result = result;
        }
      },
      &mine);
  return mine.result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  if (before < value) *at = value;
  return before;
}
template <class T>
T atomicMin(T* at, T value) {
  const T before = *at;
  if (value < before) *at = value;
  return before;
}

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}

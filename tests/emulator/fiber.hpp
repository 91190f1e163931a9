// Cooperative fibers: a stack each, switched by hand. ucontext would make a system call per switch.
#pragma once

namespace emulator {

struct Fiber {
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void* context = nullptr;  // saved stack pointer (x86-64) or ucontext_t
  void* stack = nullptr;    // made by start_fiber and kept for the next start
  void* shadow = nullptr;   // the address sanitizer's
};

// The fiber begins `entry`, which never returns, at its next switch.
void start_fiber(Fiber& fiber, void (*entry)());
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace emulator

#include "fiber.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

#if defined(__SANITIZE_ADDRESS__)
// The scheduler's stack, which is the thread's own.
const void* main_bottom = nullptr;
size_t main_bytes = 0;
#endif

void (*entry_of_next)() = nullptr;

void begin() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &main_bottom, &main_bytes);
#endif
  entry_of_next();
}

void* make_stack() {
  void* p = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

void ready_stack(Fiber& fiber) {
  if (fiber.stack == nullptr) fiber.stack = make_stack();
#if defined(__SANITIZE_ADDRESS__)
  // A fiber that was left for good did not take its frames down, and its stack may have been made again since.
  __asan_unpoison_memory_region(fiber.stack, kStackBytes);
#endif
}

}  // namespace

#if defined(__x86_64__)

// Saves the registers that a call keeps on the old stack and takes them from the new one.
extern "C" void idsim_emulator_switch(void** save, void* load);
asm(R"(
.text
.globl idsim_emulator_switch
.type idsim_emulator_switch, @function
idsim_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size idsim_emulator_switch, .-idsim_emulator_switch
)");

Fiber::Fiber() = default;

Fiber::~Fiber() {
  if (stack != nullptr) munmap(stack, kStackBytes);
}

void start_fiber(Fiber& fiber, void (*entry)()) {
  ready_stack(fiber);
  auto* top = reinterpret_cast<uintptr_t*>(static_cast<char*>(fiber.stack) + kStackBytes);
  *--top = 0;  // keeps the stack aligned at entry
  *--top = reinterpret_cast<uintptr_t>(begin);
  entry_of_next = entry;
  for (int i = 0; i < 6; ++i) *--top = 0;
  fiber.context = top;
}

static void switch_stacks(Fiber& from, Fiber& to) {
  idsim_emulator_switch(&from.context, to.context);
}

#else

Fiber::Fiber() : context(new ucontext_t) {}

Fiber::~Fiber() {
  if (stack != nullptr) munmap(stack, kStackBytes);
  delete static_cast<ucontext_t*>(context);
}

void start_fiber(Fiber& fiber, void (*entry)()) {
  ready_stack(fiber);
  auto* context = static_cast<ucontext_t*>(fiber.context);
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  entry_of_next = entry;
  makecontext(context, begin, 0);
}

static void switch_stacks(Fiber& from, Fiber& to) {
  swapcontext(static_cast<ucontext_t*>(from.context), static_cast<const ucontext_t*>(to.context));
}

#endif

void switch_fiber(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  if (to.stack != nullptr) {
    __sanitizer_start_switch_fiber(&from.shadow, to.stack, kStackBytes);
  } else {
    __sanitizer_start_switch_fiber(&from.shadow, main_bottom, main_bytes);
  }
#endif
  switch_stacks(from, to);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.shadow, nullptr, nullptr);
#endif
}

}  // namespace emulator

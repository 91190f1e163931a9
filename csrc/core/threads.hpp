// One kept pool of threads. The caller of parallel_for works too, as worker 0, and is the only one to
// poll for interrupts, so the pool needs to know nothing of Python.
//
// Fork-safe: a forked child starts with an empty pool. Every worker runs with the default floating-point
// environment (no flush-to-zero), whatever other libraries have switched on in the process.
#pragma once

#include <cstdint>
#include <functional>

namespace idsim {

// Cores that this process may run on.
int default_threads();

// Called by the calling thread about every 20 ms with the number of finished items; throws to cancel.
using Poll = std::function<void(int64_t done)>;

// Runs body(worker, item) for all items 0 .. count-1, worker in 0 .. threads-1, each worker in one thread.
// The first exception (of the body or of poll) stops the rest and is thrown to the caller, after all
// workers have left the body.
void parallel_for(int threads, int64_t count, const std::function<void(int, int64_t)>& body,
                  const Poll& poll);

// Sets the default floating-point environment for a scope.
class FloatingPointScope {
 public:
  FloatingPointScope();
  ~FloatingPointScope();
  FloatingPointScope(const FloatingPointScope&) = delete;
  FloatingPointScope& operator=(const FloatingPointScope&) = delete;

 private:
  alignas(16) unsigned char saved_[64];
};

}  // namespace idsim

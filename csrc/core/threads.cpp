#include "core/threads.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

namespace idsim {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(20);

struct Job {
  const std::function<void(int, int64_t)>* body = nullptr;
  int64_t count = 0;
  int helpers_wanted = 0;  // guarded by the pool's mutex
  int next_worker = 1;     // guarded by the pool's mutex
  int active = 0;          // helpers inside the body; guarded by the pool's mutex
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::atomic<bool> stop{false};
  std::mutex error_mutex;
  std::exception_ptr error;

  void fail() noexcept {
    const std::lock_guard lock(error_mutex);
    if (!error) error = std::current_exception();
    stop.store(true, std::memory_order_relaxed);
  }

  // False when there is nothing left.
  bool run_one(int worker) {
    if (stop.load(std::memory_order_relaxed)) return false;
    const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= count) return false;
    try {
      (*body)(worker, item);
    } catch (...) {
      fail();
      return false;
    }
    done.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
};

class Pool {
 public:
  void submit(const std::shared_ptr<Job>& job) {
    {
      const std::lock_guard lock(mutex_);
      while (started_ < job->helpers_wanted) start_thread();
      jobs_.push_back(job);
    }
    work_.notify_all();
  }

  // Takes the job off the queue and waits until no helper is inside it.
  void finish(const std::shared_ptr<Job>& job) {
    std::unique_lock lock(mutex_);
    job->helpers_wanted = 0;
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
    idle_.wait(lock, [&] { return job->active == 0; });
  }

 private:
  void start_thread() {
    std::thread([this] { serve(); }).detach();
    ++started_;
  }

  void serve() {
    const FloatingPointScope floating_point;
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return !jobs_.empty(); });
      const std::shared_ptr<Job> job = jobs_.front();
      if (--job->helpers_wanted <= 0) jobs_.pop_front();
      const int worker = job->next_worker++;
      ++job->active;
      lock.unlock();
      while (job->run_one(worker)) {
      }
      lock.lock();
      if (--job->active == 0) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<std::shared_ptr<Job>> jobs_;
  int started_ = 0;
};

// Never destroyed: its threads are detached and may outlive static destructors. A forked child has none
// of its parent's threads and gets a new pool; the old one's locks may be held for ever, so it is left.
std::atomic<Pool*> g_pool{nullptr};
std::mutex* g_pool_mutex = new std::mutex;

void forget_pool_in_child() {
  g_pool_mutex = new std::mutex;
  g_pool.store(nullptr, std::memory_order_release);
}

Pool& pool() {
  if (Pool* existing = g_pool.load(std::memory_order_acquire)) return *existing;
  const std::lock_guard lock(*g_pool_mutex);
  if (Pool* existing = g_pool.load(std::memory_order_acquire)) return *existing;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_in_child);
  static_cast<void>(registered);
  auto* fresh = new Pool;
  g_pool.store(fresh, std::memory_order_release);
  return *fresh;
}

void work_and_poll(Job& job, const Poll& poll) {
  auto last = Clock::now();
  const auto poll_when_due = [&] {
    if (!poll) return;
    const auto now = Clock::now();
    if (now - last < kPollInterval) return;
    last = now;
    poll(job.done.load(std::memory_order_relaxed));
  };
  try {
    while (job.run_one(0)) poll_when_due();
  } catch (...) {
    job.fail();
  }
}

}  // namespace

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void parallel_for(int threads, int64_t count, const std::function<void(int, int64_t)>& body,
                  const Poll& poll) {
  const FloatingPointScope floating_point;
  const auto job = std::make_shared<Job>();
  job->body = &body;
  job->count = count;
  job->helpers_wanted = static_cast<int>(std::min<int64_t>(threads, count)) - 1;
  const bool shared = job->helpers_wanted > 0;
  if (shared) pool().submit(job);
  work_and_poll(*job, poll);
  if (shared) pool().finish(job);
  if (job->error) std::rethrow_exception(job->error);
}

FloatingPointScope::FloatingPointScope() {
  static_assert(sizeof(std::fenv_t) <= sizeof saved_);
  std::fegetenv(new (saved_) std::fenv_t);
  std::fesetenv(FE_DFL_ENV);
}

FloatingPointScope::~FloatingPointScope() {
  std::fesetenv(std::launder(reinterpret_cast<const std::fenv_t*>(saved_)));
}

}  // namespace idsim

// Workers sleep until the number of jobs changes, join the job if it still has room, take tasks until none is left, and
// leave. `door` holds whether the job may be joined and how many workers are inside: the caller shuts it when no task is
// left and waits for those inside alone, never for a worker that did not wake in time.
#include "pool.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace kinone {
namespace {

constexpr std::align_val_t alignment{64};

class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  ~Memory() { ::operator delete(data_, alignment); }

  char* at_least(size_t bytes) {
    if (bytes > size_) {
      ::operator delete(data_, alignment);
      size_ = 0;
      data_ = static_cast<char*>(::operator new(bytes, alignment, std::nothrow));
      if (!data_) throw OutOfMemory{bytes};
      size_ = bytes;
    }
    return data_;
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  explicit Pool(int threads) {
    // Waiting in a loop is quickest, but not where the threads must take turns on a core.
    spins_ = threads <= static_cast<int>(std::thread::hardware_concurrency()) ? 2000 : 0;
    scratch_.resize(threads);
    try {
      for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
    } catch (const std::system_error&) {  // the system has no more threads: those that are there will do
    }
  }

  ~Pool() {
    is_over_ = true;
    ring();
    for (auto& worker : workers_) worker.join();
  }

  bool try_run(Index tasks, size_t bytes, pool::Task call, const void* f) {
    if (is_busy_.test_and_set(std::memory_order_acquire)) return false;
    Leave leave{is_busy_};
    for (auto& memory : scratch_) memory.at_least(bytes);
    call_ = call, f_ = f, tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    door_.store(open, std::memory_order_release);
    ring();
    take_tasks(0);
    unsigned inside = door_.fetch_and(~open) & ~open;
    for (int i = 0; inside && i < 4 * spins_; i++) pause(), inside = door_.load(std::memory_order_acquire);
    while (inside) door_.wait(inside), inside = door_.load(std::memory_order_acquire);
    return true;
  }

 private:
  static constexpr unsigned open = 1u << 31;

  struct Leave {
    std::atomic_flag& is_busy;
    ~Leave() { is_busy.clear(std::memory_order_release); }
  };

  void ring() {
    jobs_.fetch_add(1);
    jobs_.notify_all();
  }

  void take_tasks(int slot) {
    char* scratch = scratch_[slot].at_least(0);
    for (Index task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) call_(f_, task, scratch);
  }

  void work(int slot) {
    unsigned seen = 0;
    while (true) {
      unsigned jobs = jobs_.load();
      for (int i = 0; jobs == seen && i < spins_; i++) pause(), jobs = jobs_.load(std::memory_order_relaxed);
      while (jobs == seen) jobs_.wait(seen), jobs = jobs_.load();
      seen = jobs;
      if (is_over_) return;
      unsigned door = door_.load(std::memory_order_acquire);
      while (door & open) {
        if (!door_.compare_exchange_weak(door, door + 1, std::memory_order_acquire)) continue;
        {
          Arithmetic arithmetic;
          take_tasks(slot);
        }
        if (door_.fetch_sub(1, std::memory_order_release) == 1) door_.notify_all();
        break;
      }
    }
  }

  std::atomic_flag is_busy_;
  std::vector<Memory> scratch_;
  std::vector<std::thread> workers_;
  std::atomic<bool> is_over_ = false;
  int spins_;
  // What changes at each job, apart from what the threads only read.
  alignas(64) std::atomic<unsigned> jobs_ = 0;
  alignas(64) std::atomic<unsigned> door_ = 0;
  alignas(64) std::atomic<Index> next_ = 0;
  alignas(64) pool::Task call_ = nullptr;
  const void* f_ = nullptr;
  Index tasks_ = 0;
};

std::mutex making;  // guards the two below
int count = 1;
auto& the_pool = *new std::shared_ptr<Pool>;  // never destroyed: at exit, workers may still be asleep in it

// A forked child has one thread. The pool that it inherits is left alone, with its workers who are not there.
void prepare() { making.lock(); }
void parent() { making.unlock(); }
void child() {
  new (&the_pool) std::shared_ptr<Pool>;
  making.unlock();
}

std::shared_ptr<Pool> pool_of_all() {
  std::lock_guard lock(making);
  if (!the_pool && count > 1) {
#ifndef _WIN32
    [[maybe_unused]] static int once = pthread_atfork(prepare, parent, child);
#endif
    the_pool = std::make_shared<Pool>(count);
  }
  return the_pool;
}

}  // namespace

int threads() {
  std::lock_guard lock(making);
  return count;
}

void set_threads(int n) {
  std::shared_ptr<Pool> old;  // the last to hold it waits for its workers, outside the lock
  std::lock_guard lock(making);
  if (n != count) old.swap(the_pool);
  count = n;
}

char* workspace(size_t bytes) {
  thread_local Memory memory;
  return memory.at_least(bytes);
}

void pool::run(Index tasks, size_t bytes, Task call, const void* f) {
  if (tasks > 1) {
    std::shared_ptr<Pool> pool = pool_of_all();
    if (pool && pool->try_run(tasks, bytes, call, f)) return;
  }
  thread_local Memory memory;
  char* scratch = memory.at_least(bytes);
  for (Index task = 0; task < tasks; task++) call(f, task, scratch);
}

namespace {

// How many steps of a share have been begun, in a cache line of its own.
struct alignas(64) Begun {
  std::atomic<Index> steps = 0;
};

}  // namespace

void pool::run_steps(Index steps, Index shares, size_t bytes, Step call, const void* f) {
  std::vector<Begun> begun(shares);
  alignas(64) std::atomic<Index> ended = 0;  // shares, of all steps
  parallel(shares, bytes, [&](Index own, char* scratch) {
    for (Index step = 0; step < steps; step++) {
      for (Index i = 0; i < shares; i++) {
        Index share = (own + i) % shares, expected = step;
        std::atomic<Index>& next = begun[share].steps;
        if (next.load(std::memory_order_relaxed) != step || !next.compare_exchange_strong(expected, step + 1)) continue;
        call(f, step, share, scratch);
        ended.fetch_add(1, std::memory_order_release);
      }
      // What is not ended now is being done by a thread that runs: none waits for one that has not come.
      for (Index i = 0; ended.load(std::memory_order_acquire) < (step + 1) * shares; i++)
        i < 2000 ? pause() : std::this_thread::yield();
    }
  });
}

#if defined(__x86_64__)
Arithmetic::Arithmetic() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(0x1f80); }
Arithmetic::~Arithmetic() { __builtin_ia32_ldmxcsr(static_cast<unsigned>(saved_)); }
#elif defined(__aarch64__)
Arithmetic::Arithmetic() {
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" ::"r"(0UL));
}
Arithmetic::~Arithmetic() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }
#endif

}  // namespace kinone

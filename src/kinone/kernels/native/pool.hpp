// The one pool of threads that all kernels share, and the memory that they work in.
//
// parallel(tasks, bytes, f) calls f(task, scratch) for each task in [0, tasks), on this thread and on those of the pool
// that are free, in no order that f may rely on; scratch is `bytes` of memory, aligned for vectors, that no other call
// of f uses at that moment. A pool does one such job at a time: while it is busy (another Python thread came first)
// the tasks run on the calling thread, so there are never more threads at work than the caller's own and the pool's.
#pragma once

#include "numbers.hpp"

#include <cstddef>

namespace kinone {

// What could not be allocated.
struct OutOfMemory {
  size_t bytes;
};

int threads();
void set_threads(int count);  // the calling thread is one of them

// `bytes` of this thread's own memory, good until its next call.
char* workspace(size_t bytes);

namespace pool {
using Task = void (*)(const void* f, Index task, char* scratch);
void run(Index tasks, size_t bytes, Task call, const void* f);
using Step = void (*)(const void* f, Index step, Index share, char* scratch);
void run_steps(Index steps, Index shares, size_t bytes, Step call, const void* f);
}  // namespace pool

template <class F>
void parallel(Index tasks, size_t bytes, const F& f) {
  pool::run(
      tasks, bytes,
      [](const void* f, Index task, char* scratch) { (*static_cast<const F*>(f))(task, scratch); }, &f);
}

// Who does the tasks: the pool or, given scratch, this thread alone.
struct Crew {
  char* scratch = nullptr;
  template <class F>
  void operator()(Index tasks, size_t bytes, const F& f) const {
    if (!scratch) return parallel(tasks, bytes, f);
    for (Index task = 0; task < tasks; task++) f(task, scratch);
  }
};

// f(step, share, scratch) for each share of each step, none before all of the step before has ended. Threads meet after
// a step in less time than it takes to begin another job, and each comes back to its own share, whose memory its caches
// still hold; but it also does what others have not begun, so that any number of threads comes to the end.
template <class F>
void in_steps(Index steps, Index shares, size_t bytes, const F& f) {
  pool::run_steps(
      steps, shares, bytes,
      [](const void* f, Index step, Index share, char* scratch) { (*static_cast<const F*>(f))(step, share, scratch); }, &f);
}

// While it lives this thread rounds to nearest and keeps denormals, whatever a library has told its processor.
class Arithmetic {
 public:
  Arithmetic();
  ~Arithmetic();
  Arithmetic(const Arithmetic&) = delete;
  Arithmetic& operator=(const Arithmetic&) = delete;

 private:
  unsigned long long saved_;  // the register that says how to round
};

}  // namespace kinone

#include "allocator.hpp"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <nanobind/nanobind.h>
#include <numpy/arrayobject.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif
#ifndef _WIN32
#include <pthread.h>
#endif

namespace kinone {
namespace {

constexpr size_t line = 64;          // of a cache: every array begins at one
constexpr size_t huge = 2 << 20;     // blocks from this size on may have large pages
constexpr size_t steps = 8;          // classes to each power of two: at most an eighth of a block is wasted
constexpr size_t classes = 64 * steps;
constexpr size_t slack = 32 << 20;   // may wait in any case

// What stands before each array's memory. Waiting blocks form two lists, of their class and of all by age.
struct alignas(line) Block {
  size_t bytes;  // for the array
  Block *next, *previous, *older, *newer;
  char* base;  // what the system gave, and how much
  size_t total;
};

// Memory from the system: large blocks in whole pages, which are zero and, where it has them, large.
bool is_zero_when_fresh(size_t total) {
#ifdef __linux__
  return total >= huge;
#else
  return total && false;
#endif
}

char* from_system(size_t total) {
#ifdef __linux__
  if (is_zero_when_fresh(total)) {
    void* base = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    madvise(base, total, MADV_HUGEPAGE);
    return static_cast<char*>(base);
  }
#endif
  return static_cast<char*>(::operator new(total, std::align_val_t{line}, std::nothrow));
}

void to_system(char* base, size_t total) {
#ifdef __linux__
  if (is_zero_when_fresh(total)) return void(munmap(base, total));
#endif
  ::operator delete(base, std::align_val_t{line});
}

// The class of the smallest size that holds `bytes`, and that size.
size_t class_of(size_t& bytes) {
  if (bytes <= line * steps) {
    size_t lines = (bytes + line - 1) / line;
    lines += lines == 0;
    bytes = lines * line;
    return lines - 1;
  }
  int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes ≤ 2^(power + 1)
  size_t step = (size_t{1} << power) / steps, count = (bytes + step - 1) / step;
  bytes = count * step;
  return power * steps + count - steps - 1;
}

class Cache {
 public:
  void* take(size_t bytes, bool is_zero) {
    if (bytes > size_t{1} << 62) return nullptr;
    size_t kind = class_of(bytes);
    std::unique_lock lock(mutex_);
    Block* block = lists_[kind];
    if (block) unlist(block, kind);
    use(bytes);
    if (!block) make_room();
    lock.unlock();
    bool is_fresh = !block;
    if (is_fresh && !(block = fresh(bytes))) {
      release(0);
      if (!(block = fresh(bytes))) {
        lock.lock();
        used_ -= bytes;
        return nullptr;
      }
    }
    if (is_zero && !(is_fresh && is_zero_when_fresh(block->total))) std::memset(block + 1, 0, bytes);
    return block + 1;
  }

  void give(void* data) {
    Block* block = static_cast<Block*>(data) - 1;
    size_t bytes = block->bytes, kind = class_of(bytes);
    std::lock_guard lock(mutex_);
    used_ -= bytes, waiting_ += bytes;
    block->previous = nullptr, block->next = lists_[kind];
    if (block->next) block->next->previous = block;
    lists_[kind] = block;
    block->newer = nullptr, block->older = newest_;
    (newest_ ? newest_->newer : oldest_) = block;
    newest_ = block;
    make_room();
  }

  void release(size_t most_waiting) {
    std::lock_guard lock(mutex_);
    shrink(most_waiting);
  }

  MemoryInUse in_use() {
    std::lock_guard lock(mutex_);
    return {used_, waiting_, most_used_};
  }

  void forget_most_used() {
    std::lock_guard lock(mutex_);
    most_used_ = used_;
  }

  std::mutex mutex_;

 private:
  void use(size_t bytes) {
    used_ += bytes;
    if (used_ > most_used_) most_used_ = used_;
    if (used_ > ever_used_) ever_used_ = used_;
  }

  void make_room() {
    size_t limit = ever_used_ + ever_used_ / 2 + slack;
    if (used_ + waiting_ > limit) shrink(limit > used_ ? limit - used_ : 0);
  }

  void shrink(size_t most_waiting) {
    while (waiting_ > most_waiting && oldest_) {
      Block* block = oldest_;
      size_t bytes = block->bytes;
      unlist(block, class_of(bytes));
      to_system(block->base, block->total);
    }
  }

  void unlist(Block* block, size_t kind) {
    (block->previous ? block->previous->next : lists_[kind]) = block->next;
    if (block->next) block->next->previous = block->previous;
    (block->older ? block->older->newer : oldest_) = block->newer;
    (block->newer ? block->newer->older : newest_) = block->older;
    waiting_ -= block->bytes;
  }

  static Block* fresh(size_t bytes) {
    // Arrays that begin at the same place in a page get into each other's way in the cache.
    static std::atomic<unsigned> turn = 0;
    size_t shift = bytes >= huge ? turn++ % 16 * (4 * line) : 0, total = sizeof(Block) + bytes + shift;
    char* base = from_system(total);
    if (!base) return nullptr;
    Block* block = reinterpret_cast<Block*>(base + shift);
    block->bytes = bytes, block->base = base, block->total = total;
    return block;
  }

  Block* lists_[classes] = {};
  Block *oldest_ = nullptr, *newest_ = nullptr;
  size_t used_ = 0, waiting_ = 0, most_used_ = 0, ever_used_ = 0;
};

Cache& cache = *new Cache;  // never destroyed: arrays may outlive everything else

void* allocate(void*, size_t bytes) { return cache.take(bytes, false); }
void* allocate_zeros(void*, size_t count, size_t each) {
  size_t bytes;
  return __builtin_mul_overflow(count, each, &bytes) ? nullptr : cache.take(bytes, true);
}
void give_back(void*, void* data, size_t) {
  if (data) cache.give(data);
}
void* resize(void*, void* data, size_t bytes) {
  if (!data) return cache.take(bytes, false);
  size_t before = (static_cast<Block*>(data) - 1)->bytes;
  void* moved = cache.take(bytes, false);
  if (moved) std::memcpy(moved, data, bytes < before ? bytes : before), cache.give(data);
  return moved;
}

PyDataMem_Handler handler = {"kinone", 1, {nullptr, allocate, allocate_zeros, resize, give_back}};

std::atomic<bool> is_on = false;
thread_local bool is_used_here = false;

}  // namespace

void set_allocator(bool on) {
  if (on && !PyArray_API && _import_array() < 0) throw nanobind::python_error();
#ifndef _WIN32
  // A child that is forked while another thread holds the lock would wait for ever.
  [[maybe_unused]] static int once = pthread_atfork([] { cache.mutex_.lock(); }, [] { cache.mutex_.unlock(); },
                                                    [] { cache.mutex_.unlock(); });
#endif
  is_on = on;
  use_allocator();
}

void use_allocator() {
  if (is_on == is_used_here) return;
  is_used_here = is_on;
  PyObject* ours = is_on ? PyCapsule_New(&handler, "mem_handler", nullptr) : nullptr;
  PyObject* before = PyDataMem_SetHandler(ours);  // null: NumPy's own
  Py_XDECREF(ours);
  if (!before) throw nanobind::python_error();
  Py_DECREF(before);
}

MemoryInUse memory_in_use() { return cache.in_use(); }
void forget_most_used() { cache.forget_most_used(); }
void release_memory() { cache.release(0); }

}  // namespace kinone

// s[i] = fma(s[i], a, b), as many s as it takes for none to wait for the one before; nothing is read or written.
// y[i] = x[i]: what memory can do.
#include "limit.hpp"

#include "pool.hpp"
#include "simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

// Each thread of the pool does `rounds` of them; the result is how many operations that was, two for each number.
template <class T>
double work(Index rounds) {
  constexpr int chains = 12;
  int tasks = threads();
  parallel(tasks, 64, [&](Index, char* scratch) {
    Vector<T> s[chains], a = broadcast(T(0.999)), b = broadcast(T(0.001));
    for (int i = 0; i < chains; i++) s[i] = broadcast(T(i));
    for (Index round = 0; round < rounds; round++) {
#pragma GCC unroll 12
      for (int i = 0; i < chains; i++) s[i] = fma(s[i], a, b);
      asm volatile("");
    }
    for (int i = 1; i < chains; i++) s[0] = s[0] + s[i];
    *reinterpret_cast<volatile T*>(scratch) = s[0][0];
  });
  return 2.0 * tasks * rounds * chains * lanes<T>;
}

}  // namespace

double multiply_adds(char type, Index rounds) { return type == 'f' ? work<float>(rounds) : work<double>(rounds); }

void copy(float* y, const float* x, Index n) {
  constexpr Index block = 1 << 14;
  parallel((n + block - 1) / block, 0, [&](Index task, char*) {
    Index end = (task + 1) * block < n ? (task + 1) * block : n;
    for (Index i = task * block; i < end; i++) y[i] = x[i];
  });
}

}  // namespace kinone::KINONE_ISA

// y = +0;  for k < m, in order:  y[o, places[k], i] = y[o, places[k], i] + x[o, k, i]
//
// So where an index repeats, its contributions are added in their order, whoever adds them: tasks share out the outer
// axis, the columns i and, if those are few, the rows of y, each task looking at all places for those that are its own.
#include "native.hpp"

#include "../native/pool.hpp"
#include "../native/simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index small = 1 << 14;  // numbers up to which one thread is quicker than waking others
constexpr Index line = 16;        // columns that a task has at least


template <class T>
void add(const Scatter<T>& s) {
  bool is_small = s.outer * (s.m + s.n) * s.inner <= small;
  Index wanted = is_small ? 1 : 2 * threads();
  Index shares = s.outer >= wanted ? 1 : min(wanted, (s.inner + line - 1) / line);
  Index ranges = s.outer * shares >= wanted ? 1 : min(wanted / 2, s.n);
  auto task = [&](Index task, char*) {
    Index range = task % ranges, share = task / ranges % shares, outer = task / ranges / shares;
    Index first = range * s.n / ranges, last = (range + 1) * s.n / ranges;
    Index begin = share * s.inner / shares, end = (share + 1) * s.inner / shares;
    const T* x = s.x + outer * s.m * s.inner;
    T* y = s.y + outer * s.n * s.inner;
    for (Index row = first; row < last; row++)
      for (Index i = begin; i < end; i++) y[row * s.inner + i] = 0;
    for (Index k = 0; k < s.m; k++) {
      if (s.places[k] < first || s.places[k] >= last) continue;
      const T* from = x + k * s.inner;
      T* to = y + s.places[k] * s.inner;
      for (Index i = begin; i < end; i++) to[i] = one_nan(to[i] + from[i]);
    }
  };
  if (!is_small) return parallel(s.outer * shares * ranges, 0, task);
  for (Index i = 0; i < s.outer * shares * ranges; i++) task(i, nullptr);
}

}  // namespace

void scatter(const Scatter<float>& s) { add(s); }
void scatter(const Scatter<double>& s) { add(s); }

}  // namespace kinone::KINONE_ISA

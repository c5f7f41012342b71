// A function of every number and of the statistics and weights that belong to it, in the order of memory.
#pragma once

#include "../elementwise/functions.hpp"
#include "../native/reduce.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

template <bool MOVES, class T, class Count>
inline Doubles value(const T* p, Count count) {
  return MOVES ? load_doubles(p, count) : broadcast(double(*p));
}

// f<…>(s, w, count) loads what belongs to place s of the statistics and w of the weights, for a vector of numbers, and
// returns the function that computes them, of their place in x. `at`: where the numbers begin, in each way. Do
// statistics and weights move along with them?
template <bool IN_STATISTICS, bool IN_W, class F>
void sweep_run(const Index* at, Index length, const F& given) {
  const F f = given;  // a copy is kept in registers, whatever is stored meanwhile
  Index x = at[in_x], s = at[in_statistics], w = at[in_w], j = 0;
  auto load_all = [&](auto count) {
    return f.template operator()<IN_STATISTICS, IN_W>(s + j * IN_STATISTICS, w + j * IN_W, count);
  };
  if constexpr (IN_STATISTICS || IN_W) {
    for (; j + lanes<double> <= length; j += lanes<double>) load_all(Whole{})(x + j);
  } else {
    auto put = load_all(Whole{});
    for (; j + lanes<double> <= length; j += lanes<double>) put(x + j);
  }
  if (j < length) load_all(length - j)(x + j);
}

template <class F>
void sweep_run(const Axes<3>& axes, const Index* at, const F& f) {
  bool in_s = run_step(axes, in_statistics), in_weights = run_step(axes, in_w);
  Index length = run(axes);
  if (in_s) return in_weights ? sweep_run<true, true>(at, length, f) : sweep_run<true, false>(at, length, f);
  in_weights ? sweep_run<false, true>(at, length, f) : sweep_run<false, false>(at, length, f);
}

// Everything, in the order of memory, the last share first: the sums have just been there, and left it in a cache. Of
// what has been swept, and still is in the nearest cache, after(begin, length) is told.
template <class T, class F, class After = Nothing>
void sweep(const Norm<T>& n, const F& f, const After& after = {}) {
  Axes<3> outer = without_run(n.all);
  Index runs = size(outer), length = run(n.all), together = 2048 / (length ? length : 1) + 1;
  share_out(runs, double(runs) * length, 0, [&](Index begin, Index end, char*) {
    Walk<3> walk(outer, runs - end);
    while (begin < end) {
      Index first = walk.at[in_x], now = min(end - begin, together);
      for (Index i = 0; i < now; i++, walk.next()) sweep_run(n.all, walk.at, f);
      after(first, now * length);
      begin += now;
    }
  });
}

// What one output takes together.
template <class T, class F, class After = Nothing>
void sweep_output(const Norm<T>& n, const Axes<3>& outer, const Walk<3>& output, const F& f, const After& after = {}) {
  Walk<3> walk(outer, 0);
  for (Index runs = size(outer); runs > 0; runs--, walk.next()) {
    Index at[3];
    for (int way = 0; way < 3; way++) at[way] = output.at[way] + walk.at[way];
    sweep_run(n.reduced, at, f);
    after(at[in_x], run(n.reduced));
  }
}

}  // namespace
}  // namespace kinone::KINONE_ISA

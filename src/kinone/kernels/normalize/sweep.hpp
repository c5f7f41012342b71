// A function of every number and of the statistics and weights that belong to it, in the order of memory.
#pragma once

#include "../elementwise/functions.hpp"
#include "../native/reduce.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

// Rows of numbers that lie side by side, `pitch` apart, and that have statistics and weights in common.
struct Run {
  long rows, pitch, length;
  const long* at;  // where they begin, in each way
};

template <bool MOVES, class T, class Count>
inline Doubles value(const T* p, Count count) {
  return MOVES ? load_doubles(p, count) : broadcast(double(*p));
}

// f<…>(s, w, count) loads what belongs to place s of the statistics and w of the weights, for a vector of numbers, and
// returns the function that computes them, of their place in x. Do statistics and weights move along the run?
template <bool IN_STATISTICS, bool IN_W, class F>
void sweep_run(const Run& run, const F& f) {
  auto columns = [&](long j, auto count) {
    auto put = f.template operator()<IN_STATISTICS, IN_W>(run.at[in_statistics] + j * IN_STATISTICS,
                                                          run.at[in_w] + j * IN_W, count);
    for (long row = 0; row < run.rows; row++) put(run.at[in_x] + row * run.pitch + j);
  };
  long j = 0;
  for (; j + lanes<double> <= run.length; j += lanes<double>) columns(j, Whole{});
  if (j < run.length) columns(j, run.length - j);
}

template <class F>
void sweep_run(const Axes<3>& axes, const Run& run, const F& f) {
  bool in_s = run_step(axes, in_statistics), in_weights = run_step(axes, in_w);
  if (in_s) return in_weights ? sweep_run<true, true>(run, f) : sweep_run<true, false>(run, f);
  in_weights ? sweep_run<false, true>(run, f) : sweep_run<false, false>(run, f);
}

// Everything, in the order of memory.
template <class T, class F>
void sweep(const Norm<T>& n, const F& f) {
  constexpr long most = 16;
  Axes<3> outer = without_run(n.all);
  long rows = size(outer), length = run(n.all), last = outer.count - 1, alike = 1, pitch = 0;
  if (last >= 0 && !outer.step[in_statistics][last] && !outer.step[in_w][last])
    alike = outer.length[last], pitch = outer.step[in_x][last];
  share_out(rows, double(rows) * length, 0, [&](long row, long end, char*) {
    Walk<3> walk(outer, row);
    while (row < end) {
      long now = smaller(smaller(alike - row % alike, end - row), most);
      sweep_run(n.all, {now, pitch, length, walk.at}, f);
      for (row += now; now > 0; now--) walk.next();
    }
  });
}

// What one output takes together.
template <class T, class F>
void sweep_output(const Norm<T>& n, const Axes<3>& outer, const Walk<3>& output, const F& f) {
  Walk<3> walk(outer, 0);
  for (long rows = size(outer); rows > 0; rows--, walk.next()) {
    long at[3];
    for (int way = 0; way < 3; way++) at[way] = output.at[way] + walk.at[way];
    sweep_run(n.reduced, {1, 0, run(n.reduced), at}, f);
  }
}

}  // namespace
}  // namespace kinone::KINONE_ISA

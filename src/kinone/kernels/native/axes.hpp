// The axes that a kernel walks over: their lengths and, for each of WAYS operands, the numbers from one to the next.
//
// Nothing here belongs to an instruction set, and all of it has internal linkage: every source has a copy of its own.
#pragma once

#include "numbers.hpp"

namespace kinone {

template <int WAYS>
struct Axes {
  static constexpr int most = 64;
  int count = 0;
  Index length[most], step[WAYS][most];
};

namespace {

// One more axis, which moves faster than those before; it becomes one with the last if that simply goes on.
template <int WAYS>
void append(Axes<WAYS>& axes, Index length, const Index (&step)[WAYS]) {
  if (length == 1) return;
  int last = axes.count - 1;
  bool goes_on = axes.count > 0;
  for (int way = 0; way < WAYS && goes_on; way++) goes_on = axes.step[way][last] == length * step[way];
  if (!goes_on) last = axes.count++;
  axes.length[last] = goes_on ? axes.length[last] * length : length;
  for (int way = 0; way < WAYS; way++) axes.step[way][last] = step[way];
}

template <int WAYS>
inline Index size(const Axes<WAYS>& axes) {
  Index n = 1;
  for (int axis = 0; axis < axes.count; axis++) n *= axes.length[axis];
  return n;
}

// The length and step of the axis that moves fastest; a single number is a run of one.
template <int WAYS>
inline Index run(const Axes<WAYS>& axes) {
  return axes.count ? axes.length[axes.count - 1] : 1;
}
template <int WAYS>
inline Index run_step(const Axes<WAYS>& axes, int way = 0) {
  return axes.count ? axes.step[way][axes.count - 1] : 1;
}

// All axes but the one that moves fastest.
template <int WAYS>
inline Axes<WAYS> without_run(Axes<WAYS> axes) {
  axes.count -= axes.count > 0;
  return axes;
}

// Where number `position` stands, and with next() those after it.
template <int WAYS>
struct Walk {
  const Axes<WAYS>& axes;
  Index at[WAYS] = {}, index[Axes<WAYS>::most];

  Walk(const Axes<WAYS>& axes, Index position) : axes(axes) {
    for (int axis = axes.count; axis-- > 0; position = position ? position / axes.length[axis] : 0) {
      index[axis] = position ? position % axes.length[axis] : 0;
      for (int way = 0; way < WAYS; way++) at[way] += index[axis] * axes.step[way][axis];
    }
  }

  void next() {
    for (int axis = axes.count; axis-- > 0;) {
      for (int way = 0; way < WAYS; way++) at[way] += axes.step[way][axis];
      if (++index[axis] < axes.length[axis]) return;
      index[axis] = 0;
      for (int way = 0; way < WAYS; way++) at[way] -= axes.length[axis] * axes.step[way][axis];
    }
  }
};

}  // namespace

// What is reduced: operands of one shape. Kept axes come in the order in which outputs are numbered, reduced ones in
// that of the shape.
template <class T, int SOURCES>
struct Operands {
  const T* x[SOURCES];
  Axes<SOURCES> kept, reduced;
  T* result = nullptr;  // of a Term that has one; it lies as the last operand does
};

}  // namespace kinone

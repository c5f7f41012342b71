// Resizing along one or two axes: what the kernel in native.cpp is asked for.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// From n elements to m: output j is made of the taps [begin[j], begin[j + 1]), each an element and its weight.
template <class T>
struct Line {
  Index n, m;
  const Index *begin, *elements;
  const T* weights;
};

// y (outer, rows.m, columns.m, inner) from x (outer, rows.n, columns.n, inner), both without gaps.
template <class T>
struct Resize {
  Index outer, inner;
  Line<T> rows, columns;
  bool has_columns;  // else they stay as they are, one of them
  const T* x;
  T* y;
};

KINONE_IN_EACH_ISA(
  void resize(const Resize<float>&);
  void resize(const Resize<double>&);
)

}  // namespace kinone

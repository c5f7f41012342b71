// Scattering: what the kernel in native.cpp is asked for.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// x (outer, m, inner) is added to y (outer, n, inner) at [:, places]; both without gaps.
template <class T>
struct Scatter {
  Index outer, m, n, inner;
  const Index* places;
  const T* x;
  T* y;
};

KINONE_IN_EACH_ISA(
  void scatter(const Scatter<float>&);
  void scatter(const Scatter<double>&);
)

}  // namespace kinone

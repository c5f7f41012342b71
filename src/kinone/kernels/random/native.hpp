// Random numbers: what the kernels in native.cpp are asked for. Element i of a draw depends on the key, the step and
// start + i alone.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

struct Draw {
  unsigned key[2];
  Size step, start;
  Index count;
};

// x as (outer, rows, columns), in which order its elements take theirs of the draw; y lies alike. Either all follow each
// other without gaps, or the rows lie side by side.
template <class T>
struct Dropout {
  const T* x;
  T* y;
  Index outer, rows, columns;
  Index outer_step, column;
};

KINONE_IN_EACH_ISA(
  void uniform(const Draw&, int bits, double low, double high, float* y);
  void uniform(const Draw&, int bits, double low, double high, double* y);
  void normal(const Draw&, double mean, double std, float* y);
  void normal(const Draw&, double mean, double std, double* y);
  void bernoulli(const Draw&, double p, bool* y);
  void integers(const Draw&, Index low, Size span, Index* y);
  void dropout(const Draw&, double p, const Dropout<float>&);
  void dropout(const Draw&, double p, const Dropout<double>&);
)

}  // namespace kinone

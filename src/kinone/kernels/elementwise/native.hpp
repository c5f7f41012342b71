// Functions of one element at a time: what the kernels are asked for, and their table. Strides are in numbers.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// y = f(x[0], x[1], …) over `count` elements. y lies without gaps, and the operands' axes are given as they follow one
// another in y, the last one fastest; a stride of 0 repeats what it steps over.
template <class T>
struct Elements {
  static constexpr int most_axes = 64, most = 4;
  Index count;
  T* y;
  const T* x[most];
  int axes;
  Index shape[most_axes], stride[most][most_axes];
};

// A kernel by its name in reference.py, and the names of its operands there.
struct Kernel {
  const char* name;
  const char* operands[Elements<float>::most];  // null where there are fewer
  void (*in_float)(const Elements<float>&);
  void (*in_double)(const Elements<double>&);
};

struct Kernels {
  const Kernel* first;
  int count;
};

// The parts of the table: each in its native*.cpp.
KINONE_IN_EACH_ISA(
  Kernels exponentials();
  Kernels activations();
  Kernels with_parameters();  // softplus and its backward; gelu's forward and backward, each exact and by tanh
  Kernels trigonometric();
  Kernels inverses();
  Kernels powers();  // aᵇ and a²
  Kernels cross_entropies();
)

}  // namespace kinone

// Softmax along an axis, and what the kernels in native_softmax.cpp are asked for. Strides are in numbers, not bytes.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// The rows of numbers along one axis of arrays that have, but for that axis, one shape.
struct Rows {
  static constexpr int most_axes = 64, most_operands = 4;
  struct Operand {
    void* data;
    Index step;  // from one number of a row to the next; 0 for an array without that axis
    Index strides[most_axes];
  };

  Index n = 0;    // numbers in a row
  int axes = 0;  // that say which rows there are; the last one moves fastest
  Index shape[most_axes];
  Operand of[most_operands];

  Index count() const {
    Index count = 1;
    for (int axis = 0; axis < axes; axis++) count *= shape[axis];
    return count;
  }
  // Where row i of an operand begins.
  template <class T>
  T* begin(int operand, Index i) const {
    T* p = static_cast<T*>(of[operand].data);
    for (int axis = axes; axis-- > 0 && i; i /= shape[axis])
      p += (axis ? i % shape[axis] : i) * of[operand].strides[axis];
    return p;
  }
};

// T of the operands in order: those of softmax are (x, y), of its backward (g, y, gx).
KINONE_IN_EACH_ISA(
  template <class T> void softmax_forward(const Rows&, bool is_log);
  template <class T> void softmax_backward(const Rows&, bool is_log);
)

}  // namespace kinone

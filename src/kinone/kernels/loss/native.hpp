// Losses: what the kernels in native.cpp and native_ctc.cpp are asked for. Strides are in numbers, not bytes.
#pragma once

#include "../normalize/softmax.hpp"

namespace kinone {

// Labels that a path goes through, state by state: see reference.py. x (T, N, C), the others (N, L) or (N,).
template <class T>
struct Ctc {
  Index steps, count, classes, states;
  const T* x;
  Index x_step, x_row, x_class;
  const Index *labels, *lengths;
  const bool *skips, *ends;
  T* y = nullptr;        // of ctc_forward
  const T* g = nullptr;  // of ctc_backward, as is gx
  T* gx = nullptr;
  Index gx_step = 0, gx_row = 0, gx_class = 0;
};

KINONE_IN_EACH_ISA(
  // (x, target, y) and (x, gx, target, g): the last two have one number for each row, the target's is an Index.
  template <class T> void softmax_nll_forward(const Rows&);
  template <class T> void softmax_nll_backward(const Rows&);
  template <class T> void ctc_forward(const Ctc<T>&);
  template <class T> void ctc_backward(const Ctc<T>&);
)

}  // namespace kinone

// Recurrent networks through a whole sequence: what the kernels in native.cpp are asked for. Arrays are contiguous, but
// for w (w_hh of reference.py), whose strides are in numbers.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

enum class Cell { tanh, relu, gru, lstm };

constexpr int gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }  // H rows of w each
constexpr int kept_of(Cell cell) { return cell == Cell::lstm ? 5 : cell == Cell::gru ? 4 : 0; }   // of each step, in gates

template <class T>
struct Layer {
  Cell cell;
  bool is_reversed;
  Index steps, batch, size;  // T, N, H
  const Index* lengths;      // (N,) or null
  const T* w;
  Index w_row, w_k;
};

template <class T>
struct Forward : Layer<T> {
  const T *p, *h0, *c0, *bias;  // bias, b_hh, may be null, c0 of all but the LSTM is
  T *y, *h, *c, *gates;
};

template <class T>
struct Backward : Layer<T> {
  const T *g, *g_h, *g_c, *g_gates;  // null where all are +0
  const T *h0, *c0, *y, *gates;
  T *gp, *gq, *gh, *gc;
};

KINONE_IN_EACH_ISA(
  void forward(const Forward<float>&);
  void forward(const Forward<double>&);
  void backward(const Backward<float>&);
  void backward(const Backward<double>&);
)

}  // namespace kinone

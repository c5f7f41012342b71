// Steps of optimizers: what the kernels in native.cpp are asked for. All arrays of a parameter lie alike, without gaps.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

enum class Rule { sgd, adam, nadam, rmsprop, adagrad, lion, ema };

// A parameter, its gradient, and its states in the order of reference.py.
template <class T>
struct Parameter {
  static constexpr int most = 5;
  Index size;
  T* at[most];
};

// Factors are computed in float64 and rounded to T once.
template <class T>
struct Update {
  Rule rule;
  const Parameter<T>* parameters;
  Index count;
  T scale, lr;               // of the gradients; of the step, bias correction included
  T decay, kept;             // what is added to the gradient, 0: nothing; what is kept of a parameter
  T beta1, rest1, beta2, rest2;  // β and 1 − β; SGD: momentum and 1 − dampening first, RMSprop: momentum first, α second
  T root, eps;               // 1/√(1 − β₂ᵗ)
  T next;                    // NAdam: the step along m
  bool is_nesterov, is_first, has_average, has_momentum;  // has_average: AMSGrad's largest too
};

KINONE_IN_EACH_ISA(
  void update(const Update<float>&);
  void update(const Update<double>&);
  double squares(const float* x, Index size);  // Σ x²
  double squares(const double* x, Index size);
)

}  // namespace kinone

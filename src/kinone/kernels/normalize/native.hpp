// Normalizations: what the kernels in native.cpp are asked for. Steps are in numbers, not bytes.
#pragma once

#include "../native/axes.hpp"
#include "../native/isa.hpp"

namespace kinone {

// How the weights vary: with the statistics (batch norm: each group of numbers has its own), within what is normalized
// (layer norm: each row of x has them all), or in another way (group norm).
enum class Weights { own, each, mixed };

// What y is of the norm and the residual.
enum class Activation { none, relu, silu };

// The ways of the axes below.
enum { in_x, in_statistics, in_w };

// Everything in x's shape lies as x does, without gaps.
template <class T>
struct Norm {
  // The axes of x: those that have statistics of their own, as they lie; those that are normalized, in the order of the
  // shape; and all, as they lie. Their steps in x, in arrays of statistics, and in w and b.
  Axes<3> kept, reduced, all;
  double eps;
  bool is_centred;
  Activation activation;
  Weights weights;

  const T *x, *w, *b, *residual;  // the last three may be null, here and below
  T *y, *mean, *var;  // or the statistics are given: for inference (none: μ = 0, r = 1), and backward through silu

  const T *g, *g_mean, *g_var;
  T *gx, *g_residual;      // g_residual: g as the activation lets it through
  T *gw, *gb, *g_product;  // g_product: g·x̂, if the weights vary in a mixed way
  T *mean_gradient, *var_gradient;
};

KINONE_IN_EACH_ISA(
  template <class T> void norm_forward(const Norm<T>&);
  template <class T> void norm_backward(const Norm<T>&);
  template <class T> void batch_norm_inference_forward(const Norm<T>&);
  template <class T> void batch_norm_inference_backward(const Norm<T>&);
)

}  // namespace kinone

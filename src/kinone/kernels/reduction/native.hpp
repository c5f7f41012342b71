// Reductions: what the kernels in native.cpp are asked for. Steps are in numbers, not bytes.
#pragma once

#include "../native/axes.hpp"
#include "../native/isa.hpp"

namespace kinone {

enum class Reduction { sum, mean, var, std, prod, logsumexp, vector_norm };

// y, which lies in the order of the kept axes, of x.
template <class T, int SOURCES = 1>
struct Reduce {
  Reduction kind;
  Operands<T, SOURCES> x;
  T* y;
  double number;  // var and std: the correction; vector_norm: its order
};

// yᵢ = x₀ + … + xᵢ or x₀ · … · xᵢ along an axis of that length, for all of `lines`: steps in x and in y.
template <class T>
struct Running {
  const T* x;
  T* y;
  Axes<2> lines;
  Index length, x_step, y_step;
  bool is_product;
};

KINONE_IN_EACH_ISA(
  void reduction(const Reduce<float>&);
  void reduction(const Reduce<double>&);
  void product_sum(const Reduce<float, 2>&);
  void product_sum(const Reduce<double, 2>&);
  void cumulative(const Running<float>&);
  void cumulative(const Running<double>&);
)

}  // namespace kinone

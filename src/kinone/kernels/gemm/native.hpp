// Products of matrices: what the kernel in native.cpp is asked for. Strides are in numbers, not bytes.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// y[i, j] = Σₚ a[i, p]·b[p, j] (+ bias[i, j]), a (m, k), b (k, n). A stride of 0 repeats what it steps over.
template <class T>
struct Gemm {
  Index m, n, k;
  const T* a;
  Index a_row, a_k;
  const T* b;
  Index b_k, b_column;
  T* y;
  Index y_row, y_column;
  const T* bias;  // or null
  Index bias_row, bias_column;
};

// How many products of one shape, and how far their matrices lie apart, by axes; the last axis moves fastest.
struct Batch {
  static constexpr int most = 64;
  int axes = 0;
  Index shape[most], a[most], b[most], y[most];
};

KINONE_IN_EACH_ISA(
  void gemm(const Gemm<float>&, const Batch&);
  void gemm(const Gemm<double>&, const Batch&);
)

}  // namespace kinone

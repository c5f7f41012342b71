// Factors of square matrices, what the kernels in native.cpp are asked for. Everything is float64 and contiguous.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

KINONE_IN_EACH_ISA(
  // a (n, n) becomes L and U of P·a = L·U, rows[i] the row of a that P puts in place i; −1 if a is singular, else
  // whether P is odd.
  int factorize(double* a, Index n, Index* rows);
  // y (n, k) with a·y = b, for a factorized in that way; b (n, k).
  void substitute(const double* a, Index n, const Index* rows, const double* b, Index k, double* y);
  // x (n, n) becomes the lower triangular y with y·yᵀ = x, 0 above; false if x is not positive definite.
  bool cholesky(double* x, Index n);
  // Every NaN becomes np.nan's.
  void settle(double* y, Index n);
  // Σ ln |aᵢᵢ| in order.
  double log_diagonal(const double* a, Index n);
)

}  // namespace kinone

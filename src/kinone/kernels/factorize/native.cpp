// P·a = L·U with the largest element of each column, the first of equals, as its pivot; float32 is computed in float64.
//
//   for each column j:   exchange rows so that |a[j, j]| is the largest of a[j:, j]
//                        for rows i > j:   l = a[i, j]/a[j, j];   a[i, p] = fma(−l, a[j, p], a[i, p]) for p > j;  a[i, j] = l
//
// a·y = b: y = P·b; for j up, y[i] = fma(−l[i, j], y[j], y[i]) for i > j; for j down, y[j] = y[j]/u[j, j],
// y[i] = fma(−u[i, j], y[j], y[i]) for i < j.
//
// y·yᵀ = x: for each column j, y[j, j] = √x[j, j]; y[i, j] = x[i, j]/y[j, j]; then x[i, p] = fma(−y[i, j], y[p, j], x[i, p])
// for j < p ≤ i. Vectors run along rows, so every element is a chain over j in order.
#include "native.hpp"

#include "../elementwise/functions.hpp"
#include "../native/simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index n_lanes = lanes<double>;

// y += scale·x
void add(double* y, double scale, const double* x, Index n) {
  Index i = 0;
  for (; i + n_lanes <= n; i += n_lanes) store(y + i, fma(broadcast(scale), load<Doubles>(x + i), load<Doubles>(y + i)));
  for (; i < n; i++) y[i] = fma(scale, x[i], y[i]);
}

double size(double x) { return __builtin_fabs(x); }

}  // namespace

int factorize(double* a, Index n, Index* rows) {
  int is_odd = 0;
  for (Index i = 0; i < n; i++) rows[i] = i;
  for (Index j = 0; j < n; j++) {
    Index pivot = j;
    for (Index i = j + 1; i < n; i++)
      if (size(a[i * n + j]) > size(a[pivot * n + j])) pivot = i;
    if (a[pivot * n + j] == 0) return -1;
    if (pivot != j) {
      is_odd ^= 1;
      Index row = rows[j];
      rows[j] = rows[pivot], rows[pivot] = row;
      for (Index p = 0; p < n; p++) {
        double x = a[j * n + p];
        a[j * n + p] = a[pivot * n + p], a[pivot * n + p] = x;
      }
    }
    for (Index i = j + 1; i < n; i++) {
      double l = a[i * n + j] / a[j * n + j];
      add(a + i * n + j + 1, -l, a + j * n + j + 1, n - j - 1);
      a[i * n + j] = l;
    }
  }
  return is_odd;
}

void substitute(const double* a, Index n, const Index* rows, const double* b, Index k, double* y) {
  for (Index i = 0; i < n; i++)
    for (Index p = 0; p < k; p++) y[i * k + p] = b[rows[i] * k + p];
  for (Index j = 0; j < n; j++)
    for (Index i = j + 1; i < n; i++) add(y + i * k, -a[i * n + j], y + j * k, k);
  for (Index j = n; j-- > 0;) {
    for (Index p = 0; p < k; p++) y[j * k + p] = y[j * k + p] / a[j * n + j];
    for (Index i = 0; i < j; i++) add(y + i * k, -a[i * n + j], y + j * k, k);
  }
}

bool cholesky(double* x, Index n) {
  for (Index j = 0; j < n; j++) {
    if (!(x[j * n + j] > 0)) return false;
    double root = __builtin_sqrt(x[j * n + j]);
    // Row j of yᵀ is column j of y; above the diagonal there is room for it.
    double* row = x + j * n;
    for (Index i = j + 1; i < n; i++) row[i] = x[i * n + j] = x[i * n + j] / root;
    row[j] = root;
    for (Index i = j + 1; i < n; i++) add(x + i * n + j + 1, -row[i], row + j + 1, i - j);
  }
  for (Index i = 0; i < n; i++)
    for (Index p = i + 1; p < n; p++) x[i * n + p] = 0;
  return true;
}

void settle(double* y, Index n) {
  for (Index i = 0; i < n; i++) y[i] = one_nan(y[i]);
}

double log_diagonal(const double* a, Index n) {
  double s = 0;
  for (Index i = 0; i < n; i++) s = s + log<double>(broadcast(size(a[i * n + i])))[0];
  return s;
}

}  // namespace kinone::KINONE_ISA

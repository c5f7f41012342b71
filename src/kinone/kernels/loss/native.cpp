// The cross-entropy of logits, in one pass over them, in the order of profile kn1 and the type T of the numbers; m, eᵢ
// and S, over the classes, are softmax's (normalize/native_softmax.cpp):
//
//   y = T(log S) − (x[target] − m)        ∂L/∂xᵢ = (eᵢ·T(1/S))·g, and (eᵢ·T(1/S) − 1)·g for i = target
#include "native.hpp"

#include "../normalize/rows.hpp"

namespace kinone::KINONE_ISA {

template <class T>
void softmax_nll_forward(const Rows& rows) {
  each_row<T, 1, false>(rows, [&](Index row, T* const* at, T* e) {
    T *x = at[0], m = largest(x, rows.n);
    T log_sum = static_cast<T>(ln(exponentials(x, rows.n, m, e)));
    *rows.begin<T>(2, row) = one_nan(log_sum - (x[*rows.begin<Index>(1, row)] - m));
  });
}

template <class T>
void softmax_nll_backward(const Rows& rows) {
  each_row<T, 1, true>(rows, [&](Index row, T* const* at, T*) {
    T *x = at[0], *gx = at[1], m = largest(x, rows.n);
    const T r = static_cast<T>(1 / exponentials(x, rows.n, m, gx)), g = *rows.begin<T>(3, row);
    T& gx_target = gx[*rows.begin<Index>(2, row)];
    const T at_target = one_nan((gx_target * r - 1) * g);
    each_vector<T>(rows.n, [&](Index i, auto count) {
      store_first(gx + i, one_nan(load_first<Vector<T>>(gx + i, count) * r * g), count);
    });
    gx_target = at_target;
  });
}

template void softmax_nll_forward<float>(const Rows&);
template void softmax_nll_forward<double>(const Rows&);
template void softmax_nll_backward<float>(const Rows&);
template void softmax_nll_backward<double>(const Rows&);

}  // namespace kinone::KINONE_ISA

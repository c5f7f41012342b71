// Softmax and its logarithm along an axis, in the order of profile kn1; in the type T of the numbers but for the sums:
//
//   m = max x,   eᵢ = exp(xᵢ − m),   S = the lane sum of the eᵢ (native/sums.hpp),   exp as decay.hpp has it
//   softmax       yᵢ = eᵢ·T(1/S)                ∂L/∂xᵢ = yᵢ·(gᵢ − T(t)),             t = the lane sum of the gᵢ·yᵢ
//   log_softmax   yᵢ = (xᵢ − m) − T(log S)      ∂L/∂xᵢ = fma(exp(yᵢ), −T(t), gᵢ),    t = the lane sum of the gᵢ
//
// A row is read once from memory, for m, and is in a cache for what follows.
#include "rows.hpp"

namespace kinone::KINONE_ISA {

template <class T>
void softmax_forward(const Rows& rows, bool is_log) {
  each_row<T, 1, true>(rows, [&](Index, T* const* at, T* e) {
    T *x = at[0], *y = at[1], m = largest(x, rows.n);
    double sum = exponentials(x, rows.n, m, is_log ? e : y);
    if (!is_log) return shares(y, rows.n, static_cast<T>(1 / sum), y);
    T log_sum = static_cast<T>(ln(sum));
    each_vector<T>(rows.n, [&](Index i, auto count) {
      store_first(y + i, one_nan(load_first<Vector<T>>(x + i, count) - m - log_sum), count);
    });
  });
}

template <class T>
void softmax_backward(const Rows& rows, bool is_log) {
  each_row<T, 2, true>(rows, [&](Index, T* const* at, T*) {
    T *g = at[0], *y = at[1], *gx = at[2];
    double sum;
    lane_sums<1>(rows.n, [&](Index i, auto count, Vector<double>* t) {
      t[0] = load_doubles(g + i, count);
      if (!is_log) t[0] *= load_doubles(y + i, count);
    }, &sum);
    const T total = static_cast<T>(sum);
    each_vector<T>(rows.n, [&](Index i, auto count) {
      Vector<T> gi = load_first<Vector<T>>(g + i, count), yi = load_first<Vector<T>>(y + i, count);
      store_first(gx + i, one_nan(is_log ? fma(decay(yi), broadcast(-total), gi) : yi * (gi - total)), count);
    });
  });
}

template void softmax_forward<float>(const Rows&, bool);
template void softmax_forward<double>(const Rows&, bool);
template void softmax_backward<float>(const Rows&, bool);
template void softmax_backward<double>(const Rows&, bool);

}  // namespace kinone::KINONE_ISA

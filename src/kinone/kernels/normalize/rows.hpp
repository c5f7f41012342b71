// Rows along an axis, one after the other, and what softmax does with one of them.
#pragma once

#include <initializer_list>

#include "../native/pool.hpp"
#include "../native/sums.hpp"
#include "decay.hpp"
#include "softmax.hpp"

namespace kinone::KINONE_ISA {
namespace {

// Calls f(row, at, e) for each row: at[0] … at[INPUTS − 1] are its numbers, side by side, and at[INPUTS] where such
// results go, if there are any; e is room for a row. Operands beyond those have one number for each row.
//
// Rows whose numbers are apart are gathered, 16 at a time because those often lie side by side.
template <class T, int INPUTS, bool HAS_RESULTS, class F>
void each_row(const Rows& rows, const F& f) {
  constexpr int wide = INPUTS + HAS_RESULTS, together = 16;
  Index n = rows.n, count = rows.count();
  bool is_apart[wide], is_any_apart = false;
  for (int k = 0; k < wide; k++) is_any_apart |= is_apart[k] = rows.of[k].step != 1 && n > 1;
  Index tasks = count * n >> 14, least = count < 8 * threads() ? count : 8 * threads();
  tasks = tasks < 1 ? 1 : tasks > least ? least : tasks;
  size_t bytes = (1 + is_any_apart * wide * together) * n * sizeof(T);
  parallel(tasks, bytes, [&](Index task, char* scratch) {
    T *e = reinterpret_cast<T*>(scratch), *gathered = e + n;
    Index end = (task + 1) * count / tasks;
    for (Index first = task * count / tasks; first < end;) {
      Index now = !is_any_apart ? 1 : end - first < together ? end - first : together;
      T* from[wide][together];
      for (int k = 0; k < wide; k++) {
        for (Index r = 0; r < now; r++) from[k][r] = rows.begin<T>(k, first + r);
        for (Index j = 0; j < n && k < INPUTS && is_apart[k]; j++)
          for (Index r = 0; r < now; r++) gathered[(k * together + r) * n + j] = from[k][r][j * rows.of[k].step];
      }
      for (Index r = 0; r < now; r++) {
        T* at[wide];
        for (int k = 0; k < wide; k++) at[k] = is_apart[k] ? gathered + (k * together + r) * n : from[k][r];
        f(first + r, at, e);
      }
      for (Index j = 0; j < n && HAS_RESULTS && is_apart[wide - 1]; j++)
        for (Index r = 0; r < now; r++)
          from[wide - 1][r][j * rows.of[wide - 1].step] = gathered[((wide - 1) * together + r) * n + j];
      first += now;
    }
  });
}

// ---------------------------------------------------------------------------------- softmax of a row
inline double ln(double x) { return log<double>(broadcast(x))[0]; }

// The largest number. A NaN is passed over: the sum of the exponentials makes up for it.
template <class T>
inline T largest(const T* x, Index n) {
  constexpr int many = 4;
  const T infinity = static_cast<T>(__builtin_inf());
  T most = -infinity;
  Index i = 0;
  if (n >= many * lanes<T>) {
    Vector<T> m[many];
    for (int k = 0; k < many; k++) m[k] = broadcast(-infinity);
    for (; i + many * lanes<T> <= n; i += many * lanes<T>)
      for (int k = 0; k < many; k++) {
        Vector<T> v = load<Vector<T>>(x + i + k * lanes<T>);
        m[k] = v > m[k] ? v : m[k];
      }
    for (int k = 1; k < many; k++) m[0] = m[k] > m[0] ? m[k] : m[0];
    for (int l = 0; l < lanes<T>; l++) most = m[0][l] > most ? m[0][l] : most;
  }
  for (; i < n; i++) most = x[i] > most ? x[i] : most;
  return most;
}

// e[i] = exp(x[i] − m), and their lane sum: NaN if an x is, or infinite. e may be x.
template <class T>
inline double exponentials(const T* x, Index n, T m, T* e) {
  each_vector<T>(n, [&](Index i, auto count) {
    store_first(e + i, decay(load_first<Vector<T>>(x + i, count) - m), count);
  });
  double sum;
  lane_sums<1>(n, [&](Index i, auto count, Vector<double>* t) { t[0] = load_doubles(e + i, count); }, &sum);
  return sum;
}

// y[i] = e[i]·r. If the sum was no number, none of the row is one.
template <class T>
inline void shares(const T* e, Index n, T r, T* y) {
  each_vector<T>(n, [&](Index i, auto count) {
    store_first(y + i, r == r ? load_first<Vector<T>>(e + i, count) * r : broadcast(one_nan(r)), count);
  });
}

}  // namespace
}  // namespace kinone::KINONE_ISA

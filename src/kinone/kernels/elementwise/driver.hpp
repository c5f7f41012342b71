// A function of one element at a time, over arrays of any layout.
//
// Elements are taken as they lie in y, which is without gaps; an operand that lies alike is read where it is, another
// one is first gathered, `block` elements at a time. Whatever the type, f computes on vectors of float64, and what it
// gives is rounded once. An element's bits depend on nothing but its operands' elements, so that any number of threads
// may share out y, and the last vector may be filled up with anything.
#pragma once

#include "../native/pool.hpp"
#include "functions.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index block = 1024;       // elements gathered at a time: they stay in the first-level cache
constexpr Index least_share = 8192;  // elements for which it pays to wake a thread

// Elements first, first + 1, … of operand x, side by side.
template <class T>
void gather(const Elements<T>& e, const T* x, const Index* stride, Index first, Index count, T* to) {
  Index index[Elements<T>::most_axes];
  int last = e.axes - 1;
  for (int axis = last; axis >= 0; first /= e.shape[axis--]) {
    index[axis] = first % e.shape[axis];
    x += index[axis] * stride[axis];
  }
  while (true) {
    Index left = e.shape[last] - index[last], now = left < count ? left : count;
    for (Index i = 0; i < now; i++) to[i] = x[i * stride[last]];
    if (!(count -= now)) return;
    to += now;
    x += now * stride[last];
    index[last] = e.shape[last];
    for (int axis = last; index[axis] == e.shape[axis]; axis--) {
      x += stride[axis - 1] - e.shape[axis] * stride[axis];
      index[axis] = 0;
      index[axis - 1]++;
    }
  }
}

// A function that computes on vectors of the operands' own type instead, since it cannot round.
template <class F>
struct InOwnType : F {
  static constexpr bool is_in_own_type = true;
};
template <class F>
constexpr InOwnType<F> in_own_type(const F& f) {
  return {f};
}

template <class T>
struct Whole {
  using type = Size;
};
template <>
struct Whole<float> {
  using type = unsigned;
};

// y[i] = f(x[0][i], …) for i < count, all side by side; f(T{}, vectors…).
template <class T, class F, int... operand>
void each(const F& f, T* y, const T* const* x, Index count, Indices<operand...>) {
  constexpr bool is_in_own_type = requires { F::is_in_own_type; };
  constexpr int n = is_in_own_type ? lanes<T> : lanes<double>;
  using Numbers = Vector<T, n>;
  using Sizes = Vector<typename Whole<T>::type, n>;
  Sizes largest{};  // as whole numbers without sign: those of NaNs are the largest
  auto put = [&](T* y, auto... p) {
    Numbers value;
    if constexpr (is_in_own_type)
      value = f(load<Numbers>(p)...);
    else
      value = rounded_to<T>(f(T{}, doubles(load<Numbers>(p))...));
    Sizes size = (Sizes)value << 1;
    largest = size > largest ? size : largest;
    store(y, value);
  };
  Index whole = count - count % n;
  for (Index i = 0; i < whole; i += n) put(y + i, x[operand] + i...);
  if (whole < count) {
    T rest[sizeof...(operand) + 1][n] = {};
    for (Index j = whole; j < count; j++) ((rest[operand][j - whole] = x[operand][j]), ...);
    T* result = rest[sizeof...(operand)];
    put(result, rest[operand]...);
    for (Index j = whole; j < count; j++) y[j] = result[j - whole];
  }
  bool has_nan = false;
  const Sizes infinite = (Sizes)(Numbers{} + static_cast<T>(infinity)) << 1;
  for (int lane = 0; lane < n; lane++) has_nan |= largest[lane] > infinite[lane];
  for (Index i = 0; has_nan && i < count; i++) y[i] = one_nan(y[i]);
}

template <class T, int operands, class F>
void elementwise(const Elements<T>& e, const F& f) {
  bool is_flat[operands];
  for (int i = 0; i < operands; i++) is_flat[i] = e.axes == 0 || (e.axes == 1 && e.stride[i][0] == 1);
  Index share = e.count / (4 * threads()) + block - 1;
  share -= share % block;
  if (share < least_share) share = least_share;
  auto part = [&](Index task, char*) {
    T gathered[operands][block];
    Index end = (task + 1) * share < e.count ? (task + 1) * share : e.count;
    for (Index first = task * share; first < end; first += block) {
      Index count = end - first < block ? end - first : block;
      const T* x[operands];
      for (int i = 0; i < operands; i++) {
        x[i] = is_flat[i] ? e.x[i] + first : gathered[i];
        if (!is_flat[i]) gather(e, e.x[i], e.stride[i], first, count, gathered[i]);
      }
      each(f, e.y + first, x, count, typename Counted<operands>::type{});
    }
  };
  if (e.count <= share) return part(0, nullptr);
  parallel((e.count + share - 1) / share, 0, part);
}

// A row of the table. f has no state.
template <class F, class... Name>
constexpr Kernel kernel(const char* name, const F&, Name... operands) {
  return {name,
          {operands...},
          [](const Elements<float>& e) { elementwise<float, sizeof...(Name)>(e, F{}); },
          [](const Elements<double>& e) { elementwise<double, sizeof...(Name)>(e, F{}); }};
}

}  // namespace
}  // namespace kinone::KINONE_ISA

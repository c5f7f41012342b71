// What the sums of a norm, forward and backward, are made of.
#pragma once

#include "../native/reduce.hpp"
#include "decay.hpp"

namespace kinone::KINONE_ISA {
namespace {

template <int SUMS, int GIVEN, bool HAS_RESULT = false>
struct Terms {
  static constexpr int sums = SUMS, given = GIVEN;
  static constexpr bool has_result = HAS_RESULT;
  using Join = Add;
  bool is_shifted = true;
  const double* parameters[GIVEN + 1] = {};
};

struct Statistics : Terms<2, 0> {
  void operator()(const Doubles* x, Doubles first, const Doubles*, Doubles* t) const {
    t[0] = x[0] - first;
    t[1] = t[0] * t[0];
  }
};

// What is read between g and x: nothing, y where relu made it, or weights; with silu nothing, or the residual.
enum class Second { none, y, w, silu, residual };
template <Second SECOND>
constexpr int operands = SECOND == Second::none || SECOND == Second::silu ? 2 : 3;
template <Second SECOND>
constexpr bool is_silu = SECOND == Second::silu || SECOND == Second::residual;

template <Second SECOND>
inline Doubles gradient(Doubles g, Doubles second) {
  return SECOND == Second::w ? g * second : SECOND == Second::y ? (second > 0 ? g : Doubles{}) : g;
}

// The terms of what silu lets through, made from g, the residual perhaps, and x; with μ, r·w and b of each output.
template <Second SECOND, class T, int SUMS, int GIVEN>
struct TermsOf : Terms<SUMS, GIVEN, is_silu<SECOND>> {
  const T *mean = nullptr, *scale = nullptr, *bias = nullptr;

  template <bool MOVES>
  void prepare(const T* const* x, Index n, Index output, T* passed) const {
    const T *g = x[0], *second = x[1], *last = x[operands<SECOND> - 1];
    each_vector<T>(n, [=, this](Index i, auto count) {
      auto of = [=](const T* p) {
        return MOVES ? load_first<Vector<T>>(p + output + i, count) : broadcast(p[output]);
      };
      Vector<T> z = fma(load_first<Vector<T>>(last + i, count) - of(mean), of(scale), of(bias));
      if constexpr (SECOND == Second::residual) z += load_first<Vector<T>>(second + i, count);
      store_first(passed + i, one_nan(load_first<Vector<T>>(g + i, count) * silu_slope(z)), count);
    });
  }
};

template <Second SECOND, class T>
struct Gradient : TermsOf<SECOND, T, 4, 0> {
  void operator()(const Doubles* x, Doubles first, const Doubles*, Doubles* t) const {
    Doubles shifted = x[operands<SECOND> - 1] - first;
    t[0] = gradient<SECOND>(x[0], x[1]);
    t[1] = t[0] * shifted;
    t[2] = shifted;
    t[3] = shifted * shifted;
  }
};

template <Second SECOND, class T>
struct GradientOfGiven : TermsOf<SECOND, T, 2, 1> {
  void operator()(const Doubles* x, Doubles, const Doubles* given, Doubles* t) const {
    t[0] = gradient<SECOND>(x[0], x[1]);
    t[1] = t[0] * (x[operands<SECOND> - 1] - given[0]);
  }
};

}  // namespace
}  // namespace kinone::KINONE_ISA

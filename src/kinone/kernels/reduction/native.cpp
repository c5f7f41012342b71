// Reductions over any axes, in the order of profile kn1, where Σ is the lane sum of sums.hpp, all in float64, and the
// result rounded once, to the type of x:
//
//   sum, mean     Σ x,  Σ x / n
//   product_sum   Σ a·b
//   prod          the lane sum with × for + and 1 for +0
//   var           (Σ t² − Σt·(Σt/n)) / (n − correction), t = x − x₀, x₀ the first of the numbers; 0 if that is negative
//   std           √var of x/p, times p, the largest power of two up to max |x|: no square over- or underflows
//   logsumexp     m + log Σ exp(x − m), m = max x or, where that is not finite, 0
//   vector_norm   Σ |x|,  p·√Σ (x/p)²,  max |x|,  min |x|
//   cumulative    a chain in order, each element rounded when it is stored
//
// One pass is enough for var: as x₀ is one of the numbers, (Σt/n)² ≤ n·var, so that of 53 bits at most those of n are
// lost, and usually none; of equal numbers it is 0. Dividing float32 by p changes no bit, so that it is left out.
#include "native.hpp"

#include "../elementwise/functions.hpp"
#include "../native/reduce.hpp"

namespace kinone::KINONE_ISA {
namespace {

// ---------------------------------------------------------------------------------- terms
struct Plain {
  static constexpr int sums = 1, given = 0;
  static constexpr bool has_result = false;
  static constexpr bool is_shifted = false;
  using Join = Add;
  const double* parameters[1] = {};
  void operator()(const Doubles* x, Doubles, const Doubles*, Doubles* t) const { t[0] = x[0]; }
};

struct Product : Plain {
  void operator()(const Doubles* x, Doubles, const Doubles*, Doubles* t) const { t[0] = x[0] * x[1]; }
};

struct Factor : Plain {
  using Join = Multiply;
};

struct Magnitude : Plain {
  void operator()(const Doubles* x, Doubles, const Doubles*, Doubles* t) const { t[0] = magnitude(x[0]); }
};

struct Largest : Magnitude {
  using Join = Larger;
};

struct Smallest : Largest {
  void operator()(const Doubles* x, Doubles, const Doubles*, Doubles* t) const { t[0] = -magnitude(x[0]); }
};

struct Value : Plain {
  using Join = Larger;
};

struct Power : Plain {
  static constexpr int given = 1;
  void operator()(const Doubles* x, Doubles, const Doubles* largest, Doubles* t) const {
    t[0] = exp<double>(x[0] - largest[0]);
  }
};

// IS_SCALED: by a parameter of each output.
template <bool IS_SCALED>
struct Square : Plain {
  static constexpr int given = IS_SCALED;
  void operator()(const Doubles* x, Doubles, const Doubles* scale, Doubles* t) const {
    Doubles scaled = x[0];
    if constexpr (IS_SCALED) scaled *= scale[0];
    t[0] = scaled * scaled;
  }
};

template <bool IS_SCALED>
struct Spread : Plain {
  static constexpr int sums = 2, given = IS_SCALED;
  static constexpr bool is_shifted = true;
  void operator()(const Doubles* x, Doubles first, const Doubles* scale, Doubles* t) const {
    t[0] = x[0], t[1] = first;
    if constexpr (IS_SCALED) t[0] *= scale[0], t[1] *= scale[0];
    t[0] -= t[1];
    t[1] = t[0] * t[0];
  }
};

// ---------------------------------------------------------------------------------- reductions
// 1/p, p the largest power of two up to `size`; 1 if there is none.
inline double scale_of(double size) {
  if (!(size > 0 && size < __builtin_inf())) return 1;
  double smallest = 0x1p-1022;
  if (size < smallest) return 1 / smallest;
  Index bits = __builtin_bit_cast(Index, size) & 0x7ff0000000000000;
  return 1 / __builtin_bit_cast(double, bits);
}

template <class T, int SOURCES, class Term, class F>
void each(const Reduce<T, SOURCES>& r, const Term& term, double* room, const F& f) {
  auto finish = [&](Index o, const double* s, double) { r.y[o] = one_nan(T(f(o, s))); };
  reduce(r.x, term, room, finish);
}

// With the scales of the outputs, and without for what needs none.
template <template <bool> class Term, class F>
void each_scaled(const Reduce<float>& r, const F& f) {
  double* room = reinterpret_cast<double*>(workspace(waiting<Term<false>>(r.x) * sizeof(double)));
  each(r, Term<false>{}, room, [&](Index, const double* s) { return f(s, 1); });
}
template <template <bool> class Term, class F>
void each_scaled(const Reduce<double>& r, const F& f) {
  Index outputs = size(r.x.kept);
  Term<true> term;
  double* scales = reinterpret_cast<double*>(workspace((outputs + waiting<Term<true>>(r.x)) * sizeof(double)));
  auto keep = [=](Index o, const double* s, double) { scales[o] = scale_of(*s); };
  reduce(r.x, Largest{}, scales + outputs, keep);
  term.parameters[0] = scales;
  each(r, term, scales + outputs, [&](Index o, const double* s) { return f(s, 1 / scales[o]); });
}

template <class T>
void logsumexp(const Reduce<T>& r) {
  Index outputs = size(r.x.kept);
  double* largest = reinterpret_cast<double*>(workspace((outputs + waiting<Power>(r.x)) * sizeof(double)));
  auto keep = [=](Index o, const double* s, double) { largest[o] = *s - *s == 0 ? *s : 0; };
  reduce(r.x, Value{}, largest + outputs, keep);
  Power term;
  term.parameters[0] = largest;
  each(r, term, largest + outputs, [=](Index o, const double* s) {
    return log<double>(broadcast(*s))[0] + largest[o];
  });
}

template <class T>
void vector_norm(const Reduce<T>& r, double* room) {
  if (r.number == 2) {
    each_scaled<Square>(r, [](const double* s, double scale) { return sqrt(*s) * scale; });
  } else if (r.number == 1) {
    each(r, Magnitude{}, room, [](Index, const double* s) { return *s; });
  } else if (r.number > 0) {
    each(r, Largest{}, room, [](Index, const double* s) { return *s < 0 ? 0 : *s; });
  } else {
    each(r, Smallest{}, room, [](Index, const double* s) { return -*s; });
  }
}

template <class T>
void of_kind(const Reduce<T>& r) {
  double n = size(r.x.reduced), correction = r.number;
  double* room = reinterpret_cast<double*>(workspace(waiting<Plain>(r.x) * sizeof(double)));
  auto variance = [=](const double* s) {
    double total = s[1] - s[0] * (s[0] / n);
    return (total < 0 ? 0 : total) / (n - correction);
  };
  switch (r.kind) {
    case Reduction::sum: return each(r, Plain{}, room, [](Index, const double* s) { return *s; });
    case Reduction::mean: return each(r, Plain{}, room, [n](Index, const double* s) { return *s / n; });
    case Reduction::prod: return each(r, Factor{}, room, [](Index, const double* s) { return *s; });
    case Reduction::logsumexp: return logsumexp(r);
    case Reduction::vector_norm: return vector_norm(r, room);
    case Reduction::std:
      return each_scaled<Spread>(r, [&](const double* s, double scale) { return __builtin_sqrt(variance(s)) * scale; });
    default: break;
  }
  room = reinterpret_cast<double*>(workspace(waiting<Spread<false>>(r.x) * sizeof(double)));
  each(r, Spread<false>{}, room, [&](Index, const double* s) { return variance(s); });
}

template <class T>
void sum_of_products(const Reduce<T, 2>& r) {
  double* room = reinterpret_cast<double*>(workspace(waiting<Product>(r.x) * sizeof(double)));
  each(r, Product{}, room, [](Index, const double* s) { return *s; });
}

// ---------------------------------------------------------------------------------- running sums and products
// `count` lines at once, so that they need not wait for each other's additions: side by side or at steps[] from x and y.
template <class Join, bool IS_SIDE_BY_SIDE, class T>
void run_lines(const Running<T>& r, const T* x, T* y, Index count, const Index (&steps)[2][64]) {
  double s[64];
  for (Index i = 0; i < r.length; i++, x += r.x_step, y += r.y_step)
    for (Index j = 0; j < count; j++) {
      double term = x[IS_SIDE_BY_SIDE ? j : steps[0][j]];
      s[j] = i ? Join::join(s[j], term) : term;
      y[IS_SIDE_BY_SIDE ? j : steps[1][j]] = one_nan(T(s[j]));
    }
}

template <class Join, class T>
void running(const Running<T>& r) {
  Index lines = size(r.lines), width = 64;
  bool is_side_by_side = run_step(r.lines, 0) == 1 && run_step(r.lines, 1) == 1 && run(r.lines) > 1;
  if (!is_side_by_side) width = 8;
  share_out((lines + width - 1) / width, double(lines) * r.length, 0, [&](Index unit, Index end, char*) {
    for (; unit < end; unit++) {
      Index count = min(width, lines - unit * width), steps[2][64];
      Walk<2> walk(r.lines, unit * width);
      bool goes_on = is_side_by_side && unit * width % run(r.lines) + count <= run(r.lines);
      const T* x = r.x + walk.at[0];
      T* y = r.y + walk.at[1];
      if (goes_on) {
        run_lines<Join, true>(r, x, y, count, steps);
      } else {
        for (Index j = 0; j < count; j++, walk.next()) steps[0][j] = walk.at[0], steps[1][j] = walk.at[1];
        run_lines<Join, false>(r, r.x, r.y, count, steps);
      }
    }
  });
}

}  // namespace

void product_sum(const Reduce<float, 2>& r) { sum_of_products(r); }
void product_sum(const Reduce<double, 2>& r) { sum_of_products(r); }
void reduction(const Reduce<float>& r) { of_kind(r); }
void reduction(const Reduce<double>& r) { of_kind(r); }
void cumulative(const Running<float>& r) { r.is_product ? running<Multiply>(r) : running<Add>(r); }
void cumulative(const Running<double>& r) { r.is_product ? running<Multiply>(r) : running<Add>(r); }

}  // namespace kinone::KINONE_ISA

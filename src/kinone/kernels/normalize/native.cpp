// Normalizations in the order of profile kn1, all in float64, each result rounded once; Σ is the lane sum of sums.hpp:
//
//   t = x − x₀, x₀ the first of the n numbers that are normalized together (t = x where they are not centred)
//   d = Σt/n,   μ = x₀ + d,   σ² = (Σt² − Σt·d)/n, or 0 if that is negative,   r = 1/√(σ² + ε)
//   y = act(z), z = ((x − μ)·r)·w + b + residual;   act(z) = 0 where z ≤ 0 for relu;   or for silu
//   z rounded to the type T of x, times z < 0 ? e/(1 + e) : 1/(1 + e) in T, e = exp(−|z|) as decay.hpp has it
//
// Backward, with h = g·w, and g = 0 where y ≤ 0 for relu. For silu g is first multiplied, in T, by its slope at what is
// computed again, in T, from the rounded μ and σ² that forward gave: fma(x − μ, T(r·w), b) + residual. Then:
//
//   Σh·x̂ = (Σh·t − d·Σh)·r,   A = r,   B = (2·∂L/∂σ²)/n − (A·(Σh·x̂/n))·r,   C = ∂L/∂μ/n − A·(Σh/n)
//   ∂L/∂x = (h·A + (x − μ)·B) + C
//
// Where the weights vary as the statistics do, the sums are of g, A = r·w, and Σg·x̂ and Σg are the gradients of w and
// b. Where each row has all of them, those are Σ g·((x − μ)·r) and Σ g over the rows.
//
// One pass over x is enough for its statistics, as reduction/native.cpp explains; a second one (`sweep`) writes y or
// ∂L/∂x. For silu the first pass leaves g where the second takes it from. Where what is normalized together fits in a
// cache, it is swept as soon as its sums are known.
#include "native.hpp"

#include "../native/reduce.hpp"
#include "decay.hpp"
#include "sweep.hpp"
#include "terms.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index in_cache = 256 << 10;  // bytes of an operand that stay in a cache until they are swept

// ---------------------------------------------------------------------------------- sums
// Axes with the steps of some of their ways.
template <int SOURCES>
Axes<SOURCES> in_ways(const Axes<3>& from, const int (&ways)[SOURCES]) {
  Axes<SOURCES> axes;
  axes.count = from.count;
  for (int axis = 0; axis < from.count; axis++) {
    axes.length[axis] = from.length[axis];
    for (int k = 0; k < SOURCES; k++) axes.step[k][axis] = from.step[ways[k]][axis];
  }
  return axes;
}

template <class T>
Operands<T, 1> statistics_of(const Norm<T>& n) {
  return {{n.x}, in_ways(n.kept, {in_x}), in_ways(n.reduced, {in_x})};
}

template <Second SECOND, class T>
auto gradient_of(const Norm<T>& n) {
  if constexpr (operands<SECOND> == 2) {
    return Operands<T, 2>{{n.g, n.x}, in_ways(n.kept, {in_x, in_x}), in_ways(n.reduced, {in_x, in_x})};
  } else {
    constexpr int way = SECOND == Second::w ? in_w : in_x;
    const int ways[] = {in_x, way, in_x};
    const T* second = SECOND == Second::w ? n.w : SECOND == Second::y ? n.y : n.residual;
    return Operands<T, 3>{{n.g, second, n.x}, in_ways(n.kept, ways), in_ways(n.reduced, ways)};
  }
}

struct Moments {
  double d, mean, var, r;
};

template <class T>
Moments moments(const Norm<T>& n, double s, double squares, double first) {
  double count = size(n.reduced) ? size(n.reduced) : 1, d = n.is_centred ? s / count : 0, total = squares - s * d;
  double var = (total < 0 ? 0 : total) / count;
  return {d, first + d, var, 1 / sqrt(var + n.eps)};
}

// What y or ∂L/∂x is computed with, for each output.
struct Coefficients {
  double *mean, *r, *a, *b, *c;
};

Coefficients five(double* room, Index outputs) {
  return {room, room + outputs, room + 2 * outputs, room + 3 * outputs, room + 4 * outputs};
}

template <class T, int SOURCES>
bool stays_in_cache(const Norm<T>& n, const Operands<T, SOURCES>& o) {
  Index bytes = size(n.reduced) * Index(SOURCES * sizeof(T));
  return bytes > 0 && bytes <= in_cache && run_step(n.reduced, in_x) == 1 && !lies_across(o) && finishes_at_once(o);
}

// ---------------------------------------------------------------------------------- y
template <class T>
auto to_y(const Norm<T>& n, const Coefficients& c) {
  return [=, x = n.x, residual = n.residual, y = n.y, weights = n.w, biases = n.b,
          least = n.activation == Activation::relu ? 0.0 : -infinity]<bool IN_STATISTICS, bool IN_W>(
             Index s, Index w, auto count) {
    Doubles mean = value<IN_STATISTICS>(c.mean + s, count), r = value<IN_STATISTICS>(c.r + s, count);
    Doubles weight = weights ? value<IN_W>(weights + w, count) : broadcast(1.0);
    Doubles bias = biases ? value<IN_W>(biases + w, count) : broadcast(-0.0);  // which changes no number
    return [=](Index i) {
      Doubles z = (load_doubles(x + i, count) - mean) * r * weight + bias;
      if (residual) z += load_doubles(residual + i, count);
      store_doubles(y + i, one_nan(z <= least ? broadcast(least) : z), count);
    };
  };
}

// What is left to do when to_y has been there.
template <class T>
auto after_y(const Norm<T>& n) {
  return [y = n.y, is_silu = n.activation == Activation::silu](Index begin, Index length) {
    if (!is_silu) return;
    each_vector<T>(length, [z = y + begin](Index i, auto count) {
      store_first(z + i, one_nan(silu(load_first<Vector<T>>(z + i, count))), count);
    });
  };
}

template <class T>
void forward(const Norm<T>& n) {
  Operands<T, 1> o = statistics_of(n);
  Index outputs = size(n.kept);
  double* room = reinterpret_cast<double*>(workspace((5 * outputs + waiting<Statistics>(o)) * sizeof(double)));
  Coefficients c = five(room, outputs);
  bool is_swept = stays_in_cache(n, o);
  Axes<3> outer = without_run(n.reduced);
  auto finish = [&](Index output, const double* s, double first) {
    Walk<3> walk(n.kept, output);
    Index at = walk.at[in_statistics];
    Moments m = moments(n, s[0], s[1], first);
    c.mean[at] = m.mean, c.r[at] = m.r;
    if (n.mean) n.mean[at] = one_nan(T(m.mean));
    n.var[at] = one_nan(T(m.var));
    if (is_swept) sweep_output(n, outer, walk, to_y(n, c), after_y(n));
  };
  Statistics term;
  term.is_shifted = n.is_centred;
  reduce(o, term, room + 5 * outputs, finish);
  if (!is_swept) sweep(n, to_y(n, c), after_y(n));
}

// ---------------------------------------------------------------------------------- ∂L/∂x
template <Second SECOND, class T>
auto to_gx(const Norm<T>& n, const Coefficients& k) {
  const T *y = n.y, *weights = n.w;
  return [=, x = n.x, g = n.g, gx = n.gx, residual = n.g_residual,
          product = n.g_product]<bool IN_STATISTICS, bool IN_W>(Index s, Index w, auto count) {
    auto of = [&](const double* p) { return value<IN_STATISTICS>(p + s, count); };
    Doubles mean = of(k.mean), r = of(k.r), a = of(k.a), b = of(k.b), c = of(k.c), weight{};
    if constexpr (SECOND == Second::w) weight = value<IN_W>(weights + w, count);
    return [=](Index i) {
      Doubles h = load_doubles(g + i, count), centred = load_doubles(x + i, count) - mean;
      if constexpr (SECOND == Second::y) h = gradient<SECOND>(h, load_doubles(y + i, count));
      if (residual) store_doubles(residual + i, one_nan(h), count);
      if (product) store_doubles(product + i, one_nan(h * (centred * r)), count);
      if constexpr (SECOND == Second::w) h *= weight;
      store_doubles(gx + i, one_nan(h * a + centred * b + c), count);
    };
  };
}

// The coefficients at `at`, of the four sums of Gradient; returns Σh·x̂.
template <class T>
double set(const Norm<T>& n, const Coefficients& k, Index at, const double* s, double first, double weight) {
  double count = size(n.reduced) ? size(n.reduced) : 1;
  Moments m = moments(n, s[2], s[3], first);
  double product = (s[1] - m.d * s[0]) * m.r, a = m.r * weight;
  k.mean[at] = m.mean, k.r[at] = m.r, k.a[at] = a;
  k.b[at] = (n.g_var ? 2 * double(n.g_var[at]) / count : 0) - a * (product / count) * m.r;
  k.c[at] = (n.g_mean ? double(n.g_mean[at]) / count : 0) - (n.is_centred ? a * (s[0] / count) : 0);
  return product;
}

// What a term that has a result needs of each output, from statistics that are given; there is room for 3 numbers each.
template <class T, class Term>
void set_parameters(const Norm<T>& n, Term& term, double* room) {
  Index outputs = size(n.kept);
  T *mean = reinterpret_cast<T*>(room), *scale = mean + outputs, *bias = scale + outputs;
  Walk<3> walk(n.kept, 0);
  for (Index i = 0; i < outputs; i++, walk.next()) {
    Index s = walk.at[in_statistics], w = walk.at[in_w];
    mean[i] = n.mean[s], bias[i] = n.b ? n.b[w] : 0;
    scale[i] = T(1 / sqrt(double(n.var[s]) + n.eps) * (n.w ? double(n.w[w]) : 1));
  }
  term.mean = mean, term.scale = scale, term.bias = bias;
}

// From here on g is what silu lets through, and stands where the first pass leaves it.
template <class T, class O>
void take_from_result(Norm<T>& n, O& o) {
  n.g = o.result = n.g_residual ? n.g_residual : n.gx;
  n.g_residual = nullptr;
}

template <Second SECOND, class T>
void backward(Norm<T> n) {
  using Term = Gradient<SECOND, T>;
  constexpr Second rest = is_silu<SECOND> ? Second::none : SECOND;
  auto o = gradient_of<SECOND>(n);
  Index outputs = size(n.kept), before = (5 + 3 * Term::has_result) * outputs;
  double* room = reinterpret_cast<double*>(workspace((before + waiting<Term>(o)) * sizeof(double)));
  Coefficients k = five(room, outputs);
  Term term;
  term.is_shifted = n.is_centred;
  if constexpr (is_silu<SECOND>) {
    set_parameters(n, term, room + 5 * outputs);
    take_from_result(n, o);
  }
  bool is_swept = stays_in_cache(n, o);
  Axes<3> outer = without_run(n.reduced);
  auto finish = [&](Index output, const double* s, double first) {
    Walk<3> walk(n.kept, output);
    bool is_own = n.weights == Weights::own;
    double product = set(n, k, walk.at[in_statistics], s, first, is_own && n.w ? double(n.w[walk.at[in_w]]) : 1);
    if (is_own && n.gw) n.gw[walk.at[in_w]] = one_nan(T(product));
    if (is_own && n.gb) n.gb[walk.at[in_w]] = one_nan(T(s[0]));
    if (is_swept) sweep_output(n, outer, walk, to_gx<rest>(n, k));
  };
  reduce(o, term, room + before, finish);
  if (!is_swept) sweep(n, to_gx<rest>(n, k));
}

// Rows without gaps, each with all of the weights. A lane of theirs, of a block of 1024 rows, is a task: it takes every
// eighth row, and adds what the row gives the gradients of the weights to its own sums.
template <class T>
void backward_of_rows(const Norm<T>& n) {
  Index rows = size(n.kept), length = size(n.reduced), blocks = lane_blocks(rows), width = 2 * length;
  double* room = reinterpret_cast<double*>(workspace((5 * rows + blocks * lane_count * width) * sizeof(double)));
  Coefficients k = five(room, rows);
  double* sums = room + 5 * rows;
  share_out(blocks * lane_count, double(rows) * length, 0, [&](Index task, Index end, char*) {
    for (; task < end; task++) {
      double *gw = sums + task * width, *gb = gw + length;
      for (Index i = 0; i < width; i++) gw[i] = 0;
      Index block = task / lane_count, behind = min((block + 1) * lane_block, rows);
      for (Index row = block * lane_block + task % lane_count; row < behind; row += lane_count) {
        const T *g = n.g + row * length, *x = n.x + row * length, *w = n.w;
        T* gx = n.gx + row * length;
        double first = n.is_centred && length ? x[0] : 0, s[4];
        lane_sums<4>(length, [=](Index i, auto count, Doubles* t) {
          Doubles values[] = {load_doubles(g + i, count), broadcast(1.0), load_doubles(x + i, count)};
          if (w) values[1] = load_doubles(w + i, count);
          Gradient<Second::w, T>{}(values, broadcast(first), nullptr, t);
        }, s);
        set(n, k, row, s, first, 1);
        double mean = k.mean[row], r = k.r[row], a = k.a[row], b = k.b[row], c = k.c[row];
        auto put = [=](Index i, auto count) {
          Doubles gi = load_doubles(g + i, count), centred = load_doubles(x + i, count) - mean;
          store_doubles(gw + i, load_doubles(gw + i, count) + gi * (centred * r), count);
          store_doubles(gb + i, load_doubles(gb + i, count) + gi, count);
          if (w) gi *= load_doubles(w + i, count);
          store_doubles(gx + i, one_nan(gi * a + centred * b + c), count);
        };
        Index i = 0;
        for (; i + lanes<double> <= length; i += lanes<double>) put(i, Whole{});
        if (i < length) put(i, length - i);
      }
    }
  });
  for (Index block = 0; block < blocks; block++)  // into the places of lanes that have been added up already
    for (Index i = 0; i < width; i++)
      sums[block * width + i] = sum_of_lanes<Add>(sums + block * lane_count * width + i, width);
  tree_of_blocks(sums, blocks, width);
  for (Index i = 0; i < length && n.gw; i++) n.gw[i] = one_nan(T(sums[i]));
  for (Index i = 0; i < length && n.gb; i++) n.gb[i] = one_nan(T(sums[length + i]));
}

// ---------------------------------------------------------------------------------- statistics that are given
template <class T>
void set_given(const Norm<T>& n, const Coefficients& k) {
  for (Index at = size(n.kept); at-- > 0;) {
    k.mean[at] = n.mean ? n.mean[at] : 0;
    k.r[at] = n.var ? 1 / sqrt(double(n.var[at]) + n.eps) : 1;
  }
}

template <Second SECOND, class T>
void backward_of_given(Norm<T> n) {
  using Term = GradientOfGiven<SECOND, T>;
  auto o = gradient_of<SECOND>(n);
  Index outputs = size(n.kept), before = (6 + 3 * Term::has_result) * outputs;
  double* room = reinterpret_cast<double*>(workspace((before + waiting<Term>(o)) * sizeof(double)));
  Coefficients k = five(room, outputs);
  set_given(n, k);
  Term term;
  term.is_shifted = false;
  double* mean = room + 5 * outputs;
  term.parameters[0] = mean;
  Walk<3> walk(n.kept, 0);
  for (Index output = 0; output < outputs; output++, walk.next()) mean[output] = k.mean[walk.at[in_statistics]];
  if constexpr (is_silu<SECOND>) {
    set_parameters(n, term, room + 6 * outputs);
    take_from_result(n, o);
  }
  auto finish = [&](Index output, const double* s, double) {
    Walk<3> walk(n.kept, output);
    Index at = walk.at[in_statistics];
    double r = k.r[at], scale = r * (n.w ? double(n.w[walk.at[in_w]]) : 1), gw = s[1] * r;
    k.a[at] = scale;
    n.gw[at] = one_nan(T(gw));
    n.gb[at] = one_nan(T(s[0]));
    n.mean_gradient[at] = one_nan(T(-scale * s[0]));
    n.var_gradient[at] = one_nan(T(-0.5 * scale * (gw * r)));
  };
  reduce(o, term, room + before, finish);
  const T* y = n.y;
  sweep(n, [=, g = n.g, gx = n.gx, residual = n.g_residual]<bool IN_STATISTICS, bool IN_W>(
               Index s, Index, auto count) {
    Doubles scale = value<IN_STATISTICS>(k.a + s, count);
    return [=](Index i) {
      Doubles passed = load_doubles(g + i, count);
      if constexpr (SECOND == Second::y) passed = gradient<SECOND>(passed, load_doubles(y + i, count));
      if (residual) store_doubles(residual + i, one_nan(passed), count);
      store_doubles(gx + i, one_nan(passed * scale), count);
    };
  });
}

}  // namespace

template <class T>
void norm_forward(const Norm<T>& n) {
  forward(n);
}

template <class T>
void norm_backward(const Norm<T>& n) {
  if (n.weights == Weights::each && (n.gw || n.gb)) return backward_of_rows(n);
  if (n.weights != Weights::own && n.w) return backward<Second::w>(n);
  if (n.activation == Activation::silu) return n.residual ? backward<Second::residual>(n) : backward<Second::silu>(n);
  n.activation == Activation::relu ? backward<Second::y>(n) : backward<Second::none>(n);
}

template <class T>
void batch_norm_inference_forward(const Norm<T>& n) {
  Index outputs = size(n.kept);
  Coefficients c = five(reinterpret_cast<double*>(workspace(5 * outputs * sizeof(double))), outputs);
  set_given(n, c);
  sweep(n, to_y(n, c), after_y(n));
}

template <class T>
void batch_norm_inference_backward(const Norm<T>& n) {
  if (n.activation == Activation::silu)
    return n.residual ? backward_of_given<Second::residual>(n) : backward_of_given<Second::silu>(n);
  n.activation == Activation::relu ? backward_of_given<Second::y>(n) : backward_of_given<Second::none>(n);
}

template void norm_forward(const Norm<float>&);
template void norm_forward(const Norm<double>&);
template void norm_backward(const Norm<float>&);
template void norm_backward(const Norm<double>&);
template void batch_norm_inference_forward(const Norm<float>&);
template void batch_norm_inference_forward(const Norm<double>&);
template void batch_norm_inference_backward(const Norm<float>&);
template void batch_norm_inference_backward(const Norm<double>&);

}  // namespace kinone::KINONE_ISA

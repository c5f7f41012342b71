// Steps of optimizers, in place: p a parameter, g its gradient, and its states. Every operation is rounded in T.
//
//   all       g ← g·scale;  with weight decay g ← fma(decay, p, g), or decoupled p ← p·(1 − lr·decay)
//   sgd       b ← fma(1 − dampening, g, μ·b), at first g;  p ← fma(−lr, b, p), after Nesterov of fma(μ, b, g)
//   adam      m ← fma(1 − β₁, g − m, m),  v ← fma((1 − β₂)·g, g, β₂·v);  amsgrad: l ← max(l, v), and l for v below
//             p ← fma(−lr/(1 − β₁ᵗ), m/fma(√v, 1/√(1 − β₂ᵗ), eps), p)
//   nadam     m, v and the root r = fma(√v, …, eps) as adam
//             p ← fma(−lr·(1 − μ)/(1 − ∏μ), g/r, p),  p ← fma(−lr·μ'/(1 − ∏μ·μ'), m/r, p)
//   rmsprop   v ← fma((1 − α)·g, g, α·v);  centered: a ← fma(1 − α, g − a, a), and fma(−a, a, v) for v below
//             u = g/(√v + eps);  with momentum b ← fma(μ, b, u), and b for u;  p ← fma(−lr, u, p)
//   adagrad   s ← fma(g, g, s);  p ← fma(−lr/(1 + (t − 1)·lr_decay), g/(√s + eps), p)
//   lion      p ← fma(−lr, sign of fma(1 − β₁, g − m, m), p);  m ← fma(1 − β₂, g − m, m)
//   ema       a ← fma(1 − decay, p − a, a)
//
//   for blocks of all parameters    one parallel job
//     for vectors of a block        each number is read once, and written once if it changes
#include "native.hpp"

#include "../native/pool.hpp"
#include "../native/sums.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index block = 1 << 14;  // numbers of a task
constexpr Index alone = 1 << 15;  // numbers that one thread has done before another has come

// The factors of an update in every lane.
template <class T>
struct Factors {
  using V = Vector<T>;
  V scale, step, decay, kept, beta1, rest1, beta2, rest2, root, eps, next;
  decltype(V{} == V{}) has_decay;

  explicit Factors(const Update<T>& u)
      : scale(broadcast(u.scale)), step(broadcast(-u.lr)), decay(broadcast(u.decay)), kept(broadcast(u.kept)),
        beta1(broadcast(u.beta1)), rest1(broadcast(u.rest1)), beta2(broadcast(u.beta2)), rest2(broadcast(u.rest2)),
        root(broadcast(u.root)), eps(broadcast(u.eps)), next(broadcast(-u.next)), has_decay(everywhere<T>(u.decay != 0)) {}

  // The gradient as it counts; a parameter that decays by itself has done so.
  V gradient(V& p, V g) const {
    g = g * scale;
    p = p * kept;
    return has_decay ? fma(decay, p, g) : g;
  }
  static V towards(V x, V weight, V from) { return fma(weight, x - from, from); }
  V square(V g, V v) const { return fma(rest2 * g, g, beta2 * v); }
};

// f(c, g, x) changes the numbers x of ARRAYS arrays, a vector each; the gradient's, x[1], of which g is what counts, are
// not written.
template <int ARRAYS, class T, class F>
void each(const Update<T>& u, const F& f) {
  constexpr Index n = lanes<T>;
  const Factors<T> c(u);
  Index tasks = 0, numbers = 0;
  for (Index k = 0; k < u.count; k++) tasks += (u.parameters[k].size + block - 1) / block, numbers += u.parameters[k].size;
  auto work = [&](Index task, char*) {
    const Parameter<T>* p = u.parameters;
    for (Index blocks; task >= (blocks = (p->size + block - 1) / block); p++) task -= blocks;
    Index begin = task * block, end = p->size - begin < block ? p->size : begin + block;
    T* at[ARRAYS];
    for (int a = 0; a < ARRAYS; a++) at[a] = p->at[a];
    auto some = [&](Index i, auto count) {
      Vector<T> x[ARRAYS];
      for (int a = 0; a < ARRAYS; a++) x[a] = load_first<Vector<T>>(at[a] + i, count);
      f(c, c.gradient(x[0], x[1]), x);
      for (int a = 0; a < ARRAYS; a++)
        if (a != 1) store_first(at[a] + i, one_nan(x[a]), count);
    };
    Index i = begin;
    for (; i + n <= end; i += n) some(i, Whole{});
    if (i < end) some(i, end - i);
  };
  if (numbers > alone) return parallel(tasks, 0, work);
  for (Index task = 0; task < tasks; task++) work(task, nullptr);
}

template <class T>
void sgd(const Update<T>& u) {
  if (!u.has_momentum) return each<2>(u, [](const auto& c, auto g, auto* x) { x[0] = fma(c.step, g, x[0]); });
  auto is_first = everywhere<T>(u.is_first), is_nesterov = everywhere<T>(u.is_nesterov);
  each<3>(u, [=](const auto& c, auto g, auto* x) {
    x[2] = is_first ? g : fma(c.rest1, g, c.beta1 * x[2]);
    x[0] = fma(c.step, is_nesterov ? fma(c.beta1, x[2], g) : x[2], x[0]);
  });
}

template <bool HAS_LARGEST, class T>
void adam(const Update<T>& u) {
  each<HAS_LARGEST ? 5 : 4>(u, [](const auto& c, auto g, auto* x) {
    auto v = x[3] = c.square(g, x[3]);
    x[2] = c.towards(g, c.rest1, x[2]);
    if constexpr (HAS_LARGEST) v = x[4] = ((v > x[4]) | (v != v)) ? v : x[4];
    x[0] = fma(c.step, x[2] / fma(sqrt(v), c.root, c.eps), x[0]);
  });
}

template <class T>
void nadam(const Update<T>& u) {
  each<4>(u, [](const auto& c, auto g, auto* x) {
    x[2] = c.towards(g, c.rest1, x[2]);
    x[3] = c.square(g, x[3]);
    auto r = fma(sqrt(x[3]), c.root, c.eps);
    x[0] = fma(c.next, x[2] / r, fma(c.step, g / r, x[0]));
  });
}

template <bool HAS_AVERAGE, bool HAS_MOMENTUM, class T>
void rmsprop(const Update<T>& u) {
  each<3 + HAS_AVERAGE + HAS_MOMENTUM>(u, [](const auto& c, auto g, auto* x) {
    auto v = x[2] = c.square(g, x[2]);
    if constexpr (HAS_AVERAGE) x[3] = c.towards(g, c.rest2, x[3]), v = fma(-x[3], x[3], v);
    auto d = g / (sqrt(v) + c.eps);
    if constexpr (HAS_MOMENTUM) d = x[3 + HAS_AVERAGE] = fma(c.beta1, x[3 + HAS_AVERAGE], d);
    x[0] = fma(c.step, d, x[0]);
  });
}

template <class T>
void adagrad(const Update<T>& u) {
  each<3>(u, [](const auto& c, auto g, auto* x) {
    x[2] = fma(g, g, x[2]);
    x[0] = fma(c.step, g / (sqrt(x[2]) + c.eps), x[0]);
  });
}

template <class T>
void lion(const Update<T>& u) {
  each<3>(u, [](const auto& c, auto g, auto* x) {
    auto d = c.towards(g, c.rest1, x[2]);
    x[0] = fma(c.step, d > 0 ? Vector<T>{} + 1 : d < 0 ? Vector<T>{} - 1 : d, x[0]);
    x[2] = c.towards(g, c.rest2, x[2]);
  });
}

template <class T>
void ema(const Update<T>& u) {
  each<2>(u, [](const auto& c, auto now, auto* x) { x[0] = c.towards(now, c.rest1, x[0]); });
}

template <class T>
void updated(const Update<T>& u) {
  switch (u.rule) {
    case Rule::sgd: return sgd(u);
    case Rule::adam: return u.has_average ? adam<true>(u) : adam<false>(u);
    case Rule::nadam: return nadam(u);
    case Rule::rmsprop:
      if (u.has_average) return u.has_momentum ? rmsprop<true, true>(u) : rmsprop<true, false>(u);
      return u.has_momentum ? rmsprop<false, true>(u) : rmsprop<false, false>(u);
    case Rule::adagrad: return adagrad(u);
    case Rule::lion: return lion(u);
    case Rule::ema: return ema(u);
  }
}

// Σ x², a lane sum of float64.
template <class T>
double sum_of_squares(const T* x, Index size) {
  Index blocks = lane_blocks(size);
  double* sums = reinterpret_cast<double*>(workspace(blocks * sizeof(double)));
  constexpr Index at_once = 16;
  auto work = [&](Index task, char*) {
    for (Index b = task * at_once; b < blocks && b < (task + 1) * at_once; b++) {
      Index begin = b * lane_block, end = size - begin < lane_block ? size : begin + lane_block;
      block_sums<1>(begin, end, [&](Index i, auto count, Vector<double>* t) {
        Vector<double> y = load_doubles(x + i, count);
        t[0] = y * y;
      }, sums + b);
    }
  };
  if (size > alone) parallel((blocks + at_once - 1) / at_once, 0, work);
  else for (Index task = 0; task * at_once < blocks; task++) work(task, nullptr);
  tree_of_blocks(sums, blocks, 1);
  return sums[0];
}

}  // namespace

void update(const Update<float>& u) { updated(u); }
void update(const Update<double>& u) { updated(u); }
double squares(const float* x, Index size) { return sum_of_squares(x, size); }
double squares(const double* x, Index size) { return sum_of_squares(x, size); }

}  // namespace kinone::KINONE_ISA

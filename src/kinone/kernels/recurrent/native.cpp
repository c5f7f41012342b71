// The steps of a recurrent layer, forward. p[t] = x[t]·w_ihᵀ + b_ih is there already; s = Σ h·w_hhᵀ as gemm has it, and
//
//   tanh, relu   h ← φ(p + (s + b));  relu a = 0 where a ≤ 0
//   gru          r = σ(pᵣ + (sᵣ + bᵣ)),  z = σ(pᶻ + (sᶻ + bᶻ)),  q = sₙ + bₙ,  n = tanh(fma(r, q, pₙ)),
//                h ← fma(z, h − n, n)
//   lstm         i, f, o = σ, g = tanh of p + (s + b);  c ← fma(f, c, i·g),  h ← o·tanh c
//
// every operation rounded in T, σ and tanh too; without b nothing is added to s. Results' NaNs are np.nan's.
//
//   for each step                     all threads meet after it
//     for vectors of units            each thread its own: their weights are in its cache
//       for a few rows of the batch
//         the products of all gates   in registers
//         the gates, and the new state
#include "native.hpp"

#include "steps.hpp"

namespace kinone::KINONE_ISA {
namespace {

// What the gates are computed from: row i of the batch at time t, units from j on.
template <class T>
struct Place {
  using V = Vector<T>;
  const Forward<T>& r;
  Index t, i, j;
  const T* s;       // the sums of each gate, a vector each
  const T* h;       // the state before
  T *h_new, *c;     // the one after; c changes in place

  Index row() const { return t * r.batch + i; }
  template <class Count>
  V p(int gate, Count count) const {
    return load_first<V>(r.p + (row() * gates_of(r.cell) + gate) * r.size + j, count);
  }
  template <class Count>
  V q(int gate, Count count) const {
    V sum = load<V>(s + gate * lanes<T>);
    return r.bias ? sum + load_first<V>(r.bias + gate * r.size + j, count) : sum;
  }
  template <class Count>
  void keep(int gate, V x, Count count) const {
    store_first(r.gates + (row() * kept_of(r.cell) + gate) * r.size + j, one_nan(x), count);
  }
  template <class Count>
  void state(V x, Count count) const {
    store(h_new + j, one_nan(x));
    store_first(r.y + row() * r.size + j, one_nan(x), count);
  }
};

template <class T, class Count>
void simple(const Place<T>& at, Count count) {
  Vector<T> a = at.p(0, count) + at.q(0, count);
  at.state(at.r.cell == Cell::tanh ? tanh_of<T>(a) : a <= 0 ? Vector<T>{} : a, count);
}

template <class T, class Count>
void gru(const Place<T>& at, Count count) {
  Vector<T> r = sigmoid_of<T>(at.p(0, count) + at.q(0, count)), z = sigmoid_of<T>(at.p(1, count) + at.q(1, count));
  Vector<T> q = at.q(2, count), n = tanh_of<T>(fma(r, q, at.p(2, count)));
  at.state(fma(z, load<Vector<T>>(at.h + at.j) - n, n), count);
  at.keep(0, r, count), at.keep(1, z, count), at.keep(2, n, count), at.keep(3, q, count);
}

template <class T, class Count>
void lstm(const Place<T>& at, Count count) {
  auto a = [&](int gate) { return at.p(gate, count) + at.q(gate, count); };
  Vector<T> i = sigmoid_of<T>(a(0)), f = sigmoid_of<T>(a(1)), g = tanh_of<T>(a(2)), o = sigmoid_of<T>(a(3));
  Vector<T> c = one_nan(fma(f, load<Vector<T>>(at.c + at.j), i * g));
  store(at.c + at.j, c);
  at.state(o * tanh_of<T>(c), count);
  at.keep(0, i, count), at.keep(1, f, count), at.keep(2, g, count), at.keep(3, o, count), at.keep(4, c, count);
}

template <class T, class Count>
void cell(const Place<T>& at, Count count) {
  at.r.cell == Cell::lstm ? lstm(at, count) : at.r.cell == Cell::gru ? gru(at, count) : simple(at, count);
}

// The sequence is over: the state stands still.
template <class T>
void stand_still(const Place<T>& at, Index count) {
  store(at.h_new + at.j, load<Vector<T>>(at.h + at.j));
  store_first(at.r.y + at.row() * at.r.size + at.j, Vector<T>{}, count);
  for (int gate = 0; gate < kept_of(at.r.cell); gate++) at.keep(gate, Vector<T>{}, count);
}

template <class T>
void all_steps(const Forward<T>& r) {
  constexpr Index n = lanes<T>;
  int gates = gates_of(r.cell), vectors = gates == 1 ? most_vectors : gates;
  Plan<T> plan(r, gates * r.size, vectors, vectors / gates);
  Index wide = padded<T>(r.size), weights = plan.units * n * gates * r.size, states = r.batch * wide;
  T* w = reinterpret_cast<T*>(workspace((weights + 3 * states) * sizeof(T)));
  T *h[2] = {w + weights, w + weights + states}, *c = w + weights + 2 * states;
  plan.each_panel([&](Index u, Index units) {
    for (Index v = 0; v < units * gates; v++)  // all units of a gate, then of the next
      pack<side<T>>(w + u * gates * r.size * n + v * n, units * gates * n,
                    r.w + (v / units * r.size + (u + v % units) * n) * r.w_row, min(n, r.size - (u + v % units) * n),
                    n, r.w_row, r.size, r.w_k);
  });
  for (Index i = 0; i < r.batch; i++)
    for (Index j = 0; j < wide; j++) {
      h[0][i * wide + j] = h[1][i * wide + j] = j < r.size ? one_nan(r.h0[i * r.size + j]) : 0;
      c[i * wide + j] = j < r.size && r.c0 ? one_nan(r.c0[i * r.size + j]) : 0;
    }

  in_steps(r.steps, plan.shares(), most_rows * widest * vector_bytes, [&](Index step, Index share, char* scratch) {
    const T* now = h[step % 2];
    T *next = h[(step + 1) % 2], *s = reinterpret_cast<T*>(scratch);
    Index t = r.is_reversed ? r.steps - 1 - step : step;
    plan.each(r, share, [&](Index i0, Index rows, Index u, Index units) {
      Index at_once = units * gates;
      for (Index row = t * r.batch + i0; row < t * r.batch + i0 + rows; row++) {  // while the product is computed
        for (Index v = 0; v < at_once; v++) __builtin_prefetch(r.p + row * gates * r.size + (v / units * r.size) + (u + v % units) * n);
        for (int k = 0; k < kept_of(r.cell); k++) __builtin_prefetch(r.gates + (row * kept_of(r.cell) + k) * r.size + u * n, 1);
      }
      products<T>.of[at_once - 1][rows - 1](r.size, now + i0 * wide, wide, w + u * gates * r.size * n, s);
      for (Index i = i0; i < i0 + rows; i++)
        for (Index v = 0; v < units; v++) {
          Index j = (u + v) * n;
          Place<T> at{r, t, i, j, s + ((i - i0) * at_once + v) * n, now + i * wide, next + i * wide, c + i * wide};
          if (is_over(r, t, i)) stand_still(at, min(n, r.size - j));
          else if (r.size - j >= n) cell(at, Whole{});
          else cell(at, r.size - j);
        }
    });
  });
  for (Index i = 0; i < r.batch; i++)
    for (Index j = 0; j < r.size; j++) {
      r.h[i * r.size + j] = h[r.steps % 2][i * wide + j];
      if (r.c) r.c[i * r.size + j] = c[i * wide + j];
    }
}

}  // namespace

void forward(const Forward<float>& r) { all_steps(r); }
void forward(const Forward<double>& r) { all_steps(r); }

}  // namespace kinone::KINONE_ISA

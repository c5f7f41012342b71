// The steps of a recurrent layer, backward, from the last to the first. dh and dc are ∂L/∂h and ∂L/∂c after a step: those
// of the results to begin with. D = g[t] + dh; where r.gates has a cotangent it is Γ, else +0; and
//
//   tanh, relu   ∂a = D·fma(−y, y, 1), or D where y > 0 and else +0
//   gru          ∂n = fma(D, 1 − z, Γₙ)·fma(−n, n, 1),  ∂z = fma(D, h − n, Γᶻ)·(z·(1 − z)),
//                ∂r = fma(∂n, q, Γᵣ)·(r·(1 − r)),  ∂q = fma(∂n, r, Γ_q);  e = D·z
//   lstm         τ = tanh c,  dc ← fma(D·o, fma(−τ, τ, 1), dc) + Γ_c,
//                ∂i = fma(dc, g, Γᵢ)·(i·(1 − i)),  ∂f = fma(dc, c before, Γ_f)·(f·(1 − f)),
//                ∂g = fma(dc, i, Γ_g)·fma(−g, g, 1),  ∂o = fma(D, τ, Γₒ)·(o·(1 − o));  dc ← dc·f
//   dh ← Σ ∂·w_hh as gemm has it (gru: of ∂r, ∂z, ∂q, and + e),  in the order of w_hh's rows
//
// every operation rounded in T. The product that ends a step is computed at the beginning of the next one, where what
// follows needs it: so threads meet once a step. Loops as forward, with a step more, which leaves the gradient of h0.
#include "native.hpp"

#include "steps.hpp"

namespace kinone::KINONE_ISA {
namespace {

template <class T>
struct Place {
  using V = Vector<T>;
  const Backward<T>& r;
  Index t, i, j;
  T *d, *carried;  // ∂ as the next product reads it; dc or e

  Index row() const { return t * r.batch + i; }
  // Whether this is the first step of the sequence, which began with h0 and c0.
  bool is_first() const {
    Index before = r.is_reversed ? t + 1 : t - 1;
    return before < 0 || before == r.steps || is_over(r, before, i);
  }
  Index row_before() const { return row() + (r.is_reversed ? r.batch : -r.batch); }

  template <class Count>
  V gate(int k, Count count) const {
    return load_first<V>(r.gates + (row() * kept_of(r.cell) + k) * r.size + j, count);
  }
  template <class Count>
  V of_gate(int k, Count count) const {
    static constexpr T zeros[lanes<T>] = {};
    return load_first<V>(r.g_gates ? r.g_gates + (row() * kept_of(r.cell) + k) * r.size + j : zeros, count);
  }
  template <class Count>
  void put(T* all, int k, V x, Count count) const {
    store_first(all + (row() * gates_of(r.cell) + k) * r.size + j, one_nan(x), count);
  }
  template <class Count>
  void put(int k, V x, Count count) const {
    put(r.gp, k, x, count);
    store_first(d + k * r.size + j, x, count);
  }
};

template <class V>
V slope_of_tanh(V y) {
  return fma(-y, y, V{} + 1);
}
template <class V>
V slope_of_sigmoid(V y) {
  return y * (1 - y);
}

template <class T, class Count>
void simple(const Place<T>& at, Vector<T> D, Count count) {
  Vector<T> y = load_first<Vector<T>>(at.r.y + at.row() * at.r.size + at.j, count);
  Vector<T> of_tanh = D * slope_of_tanh(y), of_relu = y > 0 ? D : Vector<T>{};
  at.put(0, everywhere<T>(at.r.cell == Cell::tanh) ? of_tanh : of_relu, count);
}

template <class T, class Count>
void gru(const Place<T>& at, Vector<T> D, Count count) {
  const T* before = at.is_first() ? at.r.h0 + at.i * at.r.size : at.r.y + at.row_before() * at.r.size;
  Vector<T> r = at.gate(0, count), z = at.gate(1, count), n = at.gate(2, count), q = at.gate(3, count);
  Vector<T> h = load_first<Vector<T>>(before + at.j, count);
  Vector<T> dn = fma(D, 1 - z, at.of_gate(2, count)) * slope_of_tanh(n);
  Vector<T> dz = fma(D, h - n, at.of_gate(1, count)) * slope_of_sigmoid(z);
  Vector<T> dr = fma(dn, q, at.of_gate(0, count)) * slope_of_sigmoid(r);
  Vector<T> dq = fma(dn, r, at.of_gate(3, count));
  at.put(0, dr, count), at.put(1, dz, count), at.put(2, dn, count);
  at.put(at.r.gq, 0, dr, count), at.put(at.r.gq, 1, dz, count), at.put(at.r.gq, 2, dq, count);
  store_first(at.d + 2 * at.r.size + at.j, dq, count);
  store(at.carried + at.j, D * z);
}

template <class T, class Count>
void lstm(const Place<T>& at, Vector<T> D, Count count) {
  const T* before =
      at.is_first() ? at.r.c0 + at.i * at.r.size : at.r.gates + (at.row_before() * kept_of(Cell::lstm) + 4) * at.r.size;
  Vector<T> i = at.gate(0, count), f = at.gate(1, count), g = at.gate(2, count), o = at.gate(3, count);
  Vector<T> tanh_c = tanh_of<T>(at.gate(4, count));
  Vector<T> dc = fma(D * o, slope_of_tanh(tanh_c), load<Vector<T>>(at.carried + at.j)) + at.of_gate(4, count);
  at.put(0, fma(dc, g, at.of_gate(0, count)) * slope_of_sigmoid(i), count);
  at.put(1, fma(dc, load_first<Vector<T>>(before + at.j, count), at.of_gate(1, count)) * slope_of_sigmoid(f), count);
  at.put(2, fma(dc, i, at.of_gate(2, count)) * slope_of_tanh(g), count);
  at.put(3, fma(D, tanh_c, at.of_gate(3, count)) * slope_of_sigmoid(o), count);
  store(at.carried + at.j, dc * f);
}

template <class T, class Count>
void cell(const Place<T>& at, Vector<T> dh, Count count) {
  Vector<T> g = at.r.g ? load_first<Vector<T>>(at.r.g + at.row() * at.r.size + at.j, count) : Vector<T>{};
  Vector<T> D = g + dh;
  at.r.cell == Cell::lstm ? lstm(at, D, count) : at.r.cell == Cell::gru ? gru(at, D, count) : simple(at, D, count);
}

template <class T>
void all_steps(const Backward<T>& r) {
  constexpr Index n = lanes<T>;
  Index depth = gates_of(r.cell) * r.size;
  Plan<T> plan(r, depth, most_vectors, most_vectors);
  Index wide = padded<T>(r.size), deep = padded<T>(depth), weights = plan.units * n * depth;
  T* w = reinterpret_cast<T*>(workspace((weights + 2 * r.batch * (wide + deep)) * sizeof(T)));
  T *d[2] = {w + weights, w + weights + r.batch * deep}, *states = w + weights + 2 * r.batch * deep;
  T *dh = states, *carried = states + r.batch * wide;
  plan.each_panel([&](Index u, Index units) {
    for (Index v = 0; v < units; v++)
      pack<side<T>>(w + u * depth * n + v * n, units * n, r.w + (u + v) * n * r.w_k, min(n, r.size - (u + v) * n), n,
                    r.w_k, depth, r.w_row);
  });
  for (Index i = 0; i < 2 * r.batch * deep; i++) d[0][i] = 0;
  for (Index i = 0; i < r.batch; i++)
    for (Index j = 0; j < wide; j++) {
      dh[i * wide + j] = j < r.size && r.g_h ? r.g_h[i * r.size + j] : 0;
      carried[i * wide + j] = j < r.size && r.g_c ? r.g_c[i * r.size + j] : 0;
    }

  in_steps(r.steps + 1, plan.shares(), most_rows * widest * vector_bytes, [&](Index step, Index share, char* scratch) {
    T *s = reinterpret_cast<T*>(scratch), *was = d[(step + 1) % 2], *is = d[step % 2];
    Index t = r.is_reversed ? step : r.steps - 1 - step, t_was = r.is_reversed ? t - 1 : t + 1;
    plan.each(r, share, [&](Index i0, Index rows, Index u, Index units) {
      if (step) products<T>.of[units - 1][rows - 1](depth, was + i0 * deep, deep, w + u * depth * n, s);
      for (Index i = i0; i < i0 + rows; i++)
        for (Index v = 0; v < units; v++) {
          Index j = (u + v) * n;
          T* at_dh = dh + i * wide + j;
          if (step && !is_over(r, t_was, i)) {
            Vector<T> sum = load<Vector<T>>(s + ((i - i0) * units + v) * n);
            store(at_dh, r.cell == Cell::gru ? sum + load<Vector<T>>(carried + i * wide + j) : sum);
          }
          if (step == r.steps) continue;
          Place<T> at{r, t, i, j, is + i * deep, carried + i * wide};
          if (is_over(r, t, i)) {
            for (int k = 0; k < gates_of(r.cell); k++) {
              at.put(r.gp, k, Vector<T>{}, min(n, r.size - j));
              if (r.gq) at.put(r.gq, k, Vector<T>{}, min(n, r.size - j));
            }
          } else if (r.size - j >= n) {
            cell(at, load<Vector<T>>(at_dh), Whole{});
          } else {
            cell(at, load<Vector<T>>(at_dh), r.size - j);
          }
        }
    });
  });
  for (Index i = 0; i < r.batch; i++)
    for (Index j = 0; j < r.size; j++) {
      r.gh[i * r.size + j] = one_nan(dh[i * wide + j]);
      if (r.gc) r.gc[i * r.size + j] = one_nan(carried[i * wide + j]);
    }
}

}  // namespace

void backward(const Backward<float>& r) { all_steps(r); }
void backward(const Backward<double>& r) { all_steps(r); }

}  // namespace kinone::KINONE_ISA

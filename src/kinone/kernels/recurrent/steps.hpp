// What both directions of a recurrent layer are made of: the product of a few rows of states with weights that were
// packed once for the whole sequence, and who computes what at each step.
//
// A step is cut by units of the state, a vector of them at a time, and by rows of the batch. A thread keeps to its units:
// their weights stay in its second-level cache from the first step to the last.
#pragma once

#include "../elementwise/functions.hpp"
#include "../gemm/tile.hpp"
#include "../native/pool.hpp"
#include "../native/sums.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr int widest = 4;                  // vectors of a product
constexpr Index worth_two_threads = 1 << 16;  // multiplications of a step: threads meet after each

// Rows of a product `vectors` wide whose sums stay in registers.
constexpr int rows_of(int vectors) {
  int rows = registers == 32 ? (30 - vectors) / vectors : (registers - 2) / vectors;
  return rows < most_rows ? rows : most_rows;
}

// y[i, v] = Σₚ a[i, p]·b[p, v] for p < depth, in chunks as gemm; b is read from its beginning to its end.
template <class T, int ROWS, int VECTORS>
void product(Index depth, const T* a, Index a_row, const T* b, T* y) {
  for (Index p0 = 0; p0 < depth; p0 += chunk) {
    Vector<T> s[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) s[i][v] = Vector<T>{};
    for (Index p = p0; p < min(p0 + chunk, depth); p++) {
      Vector<T> x[VECTORS];
      for (int v = 0; v < VECTORS; v++) x[v] = load<Vector<T>>(b + (p * VECTORS + v) * lanes<T>);
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) {
        Vector<T> w = broadcast(a[i * a_row + p]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) s[i][v] = fma(w, x[v], s[i][v]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) {
        T* to = y + (i * VECTORS + v) * lanes<T>;
        store(to, p0 ? load<Vector<T>>(to) + s[i][v] : s[i][v]);
      }
  }
}

template <class T>
using Product = void (*)(Index, const T*, Index, const T*, T*);

template <class T>
struct Products {
  Product<T> of[widest][most_rows];

  template <int V, int... i>
  static constexpr void set(Products& all, Indices<i...>) {
    ((all.of[V - 1][i] = i < rows_of(V) ? product<T, i < rows_of(V) ? i + 1 : 1, V> : nullptr), ...);
  }
  constexpr Products() : of{} {
    using Rows = typename Counted<most_rows>::type;
    set<1>(*this, Rows{}), set<2>(*this, Rows{}), set<3>(*this, Rows{}), set<4>(*this, Rows{});
  }
};

template <class T>
constexpr Products<T> products{};

// How the steps of a layer are shared out.
template <class T>
struct Plan {
  static constexpr Index n = lanes<T>;
  Index units, rows, row_tiles, columns_at_once, unit_shares, row_shares;

  // Products are `vectors` wide, with `depth` multiplications each; of those, `units_at_once` are units of the state.
  Plan(const Layer<T>& r, Index depth, int vectors, int units_at_once) : columns_at_once(units_at_once) {
    units = blocks(r.size, n);
    row_tiles = blocks(r.batch, rows_of(vectors));
    Index most = r.batch * r.size * depth < worth_two_threads ? 1 : threads();
    unit_shares = max(1, min(most, units)), row_shares = max(1, min(most / unit_shares, row_tiles));
  }

  Index shares() const { return unit_shares * row_shares; }

  // f(first unit, units) for the columns of each product.
  template <class F>
  void each_panel(const F& f) const {
    parallel(unit_shares, 0, [&](Index share, char*) {
      Index u1 = (share + 1) * units / unit_shares;
      for (Index u = share * units / unit_shares; u < u1; u += columns_at_once) f(u, min(columns_at_once, u1 - u));
    });
  }

  // f(first row, rows, first unit, units) for the products of a share.
  template <class F>
  void each(const Layer<T>& r, Index share, const F& f) const {
    Index column = share % unit_shares, row = share / unit_shares;
    Index u1 = (column + 1) * units / unit_shares, tile1 = (row + 1) * row_tiles / row_shares;
    for (Index u = column * units / unit_shares; u < u1; u += columns_at_once)
      for (Index tile = row * row_tiles / row_shares; tile < tile1; tile++) {
        Index i = tile * r.batch / row_tiles;
        f(i, (tile + 1) * r.batch / row_tiles - i, u, min(columns_at_once, u1 - u));
      }
  }
};

// Rows of a matrix of our own: full vectors, and one more, since rows apart by a power of two get in each other's way.
template <class T>
Index padded(Index size) {
  return rounded(size, lanes<T>) + lanes<T>;
}

template <class T>
bool is_over(const Layer<T>& r, Index t, Index i) {
  return r.lengths && t >= r.lengths[i];
}

template <class T>
Vector<T> sigmoid_of(Vector<T> x) {
  return in_double([](Vector<double> x) { return sigmoid<T>(x); }, x);
}

template <class T>
Vector<T> tanh_of(Vector<T> x) {
  return in_double([](Vector<double> x) { return tanh<T>(x); }, x);
}

}  // namespace
}  // namespace kinone::KINONE_ISA

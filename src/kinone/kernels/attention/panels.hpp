// Products of matrices that stay in a thread's scratch, with the bits of gemm: chains of fused multiply-adds.
//
// The right-hand matrix lies in panels, a tile's width of its columns each: a row of a panel is what one step of a
// chain reads. What is left of the last vector is 0, so that no tile need care how wide its matrix is.
#pragma once

#include "../gemm/tile.hpp"

namespace kinone::KINONE_ISA {
namespace {

// Where a chain begins and what becomes of its result s: y = s from +0, y = y + s from +0, or y = s from y itself.
enum class Chain { begun, added, continued };

template <class T, int ROWS, int VECTORS>
void chain(Chain how, T* y, Index y_row, Index depth, const T* a, Index a_row, Index a_k, const T* b, Index b_k) {
  constexpr int n = lanes<T>;
  Vector<T> s[ROWS][VECTORS] = {};
  if (how == Chain::continued)
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) s[i][v] = load<Vector<T>>(y + i * y_row + v * n);
  for (Index p = 0; p < depth; p++) {
    Vector<T> x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = load<Vector<T>>(b + v * n);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      Vector<T> w = broadcast(a[i * a_row]);
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; v++) s[i][v] = fma(w, x[v], s[i][v]);
    }
    a += a_k, b += b_k;
  }
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++) {
      T* to = y + i * y_row + v * n;
      store(to, how == Chain::added ? load<Vector<T>>(to) + s[i][v] : s[i][v]);
    }
}

template <class T>
struct Chains {
  decltype(&chain<T, 1, 1>) of[most_rows][most_vectors];

  template <int... i>
  static constexpr Chains all(Indices<i...>) {
    return {{{chain<T, i + 1, 1>, chain<T, i + 1, 2>, chain<T, i + 1, 3>}...}};
  }
};

template <class T>
constexpr Chains<T> chains = Chains<T>::all(typename Counted<most_rows>::type{});

// A matrix (depth, columns) in panels.
template <class T>
struct Panels {
  T* data;
  Index depth, columns;

  // As many columns in each panel but the last: the widest tile is not the best for 64.
  Index wide() const { return rounded(blocks(columns, max(blocks(columns, width<T>), 1)), lanes<T>); }
  static size_t size(Index depth, Index columns) { return depth * rounded(columns, lanes<T>); }

  Panels of(Index rows) const { return {data, rows, columns}; }

  // From a matrix with those strides.
  void pack(const T* from, Index k_step, Index column_step) const {
    for (Index j = 0; j < columns; j += wide()) {
      Index count = min(wide(), columns - j), whole = rounded(count, lanes<T>);
      kinone::KINONE_ISA::pack<side<T>>(data + j * depth, whole, from + j * column_step, count, whole, column_step,
                                        depth, k_step);
    }
  }
};

// y[i, j] = Σₚ a[i, p]·b[p, j], p0 ≤ p < p1, for the first columns of b: one chain. y is filled to whole vectors.
template <class T>
void product(Chain how, T* y, Index y_row, Index rows, Index columns, const T* a, Index a_row, Index a_k,
             const Panels<T>& b, Index p0, Index p1) {
  for (Index wide = b.wide(), j = 0; j < columns; j += wide) {
    Index b_k = rounded(min(wide, b.columns - j), lanes<T>), vectors = blocks(min(wide, columns - j), lanes<T>);
    const T* panel = b.data + j * b.depth + p0 * b_k;
    for (Index i = 0; i < rows; i += most_rows)
      chains<T>.of[min(most_rows, rows - i) - 1][vectors - 1](how, y + i * y_row + j, y_row, p1 - p0, a + i * a_row,
                                                               a_row, a_k, panel, b_k);
  }
}

// The same over all p up to `depth`: the sum of the chains of each chunk.
template <class T>
void whole_product(T* y, Index y_row, Index rows, Index columns, const T* a, Index a_row, Index a_k, const Panels<T>& b,
                   Index depth) {
  for (Index p = 0; p == 0 || p < depth; p += chunk)
    product(p ? Chain::added : Chain::begun, y, y_row, rows, columns, a + p * a_k, a_row, a_k, b, p,
            min(p + chunk, depth));
}

}  // namespace
}  // namespace kinone::KINONE_ISA

// A tile of y in registers, and the panels that it is computed from: what every loop around it needs.
//
// tile():   s = +0;  for p in the chunk, in order:  s[i, j] = fma(a[i, p], b[p, j], s[i, j])  for all of the tile
// put():    y[i, j] = s[i, j] for the first chunk, y[i, j] + s[i, j] for the others; after the last, + bias
// pack():   to[p, i] = from[i, p]: what a tile reads lies side by side, in the order in which it reads it
#pragma once

#include "../native/simd.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index chunk = 384;  // of the profile: it changes bits, and with it the profile's name

constexpr int most_rows = registers == 32 ? 8 : 4;  // of a tile: with 3 vectors each, 24 or 12 accumulators
constexpr int most_vectors = 3;
template <class T>
constexpr int width = most_vectors * lanes<T>;

// ---------------------------------------------------------------------------------- a tile
// Where a tile of y begins, and which chunk of the sum it holds.
template <class T>
struct Corner {
  T* y;
  const T* bias;
  Index columns;  // those that exist: a tile may be wider than what is left of y
  bool is_first, is_last;
};

template <class T>
Corner<T> corner(const Gemm<T>& g, Index i, Index j, Index p0) {
  const T* bias = g.bias ? g.bias + i * g.bias_row + j * g.bias_column : nullptr;
  return {g.y + i * g.y_row + j * g.y_column, bias, g.n - j, p0 == 0, p0 + chunk >= g.k};
}

// The tile's numbers one by one: at the right edge of y, or where y or the bias does not lie side by side.
template <class T>
__attribute__((noinline)) void put_each(const Gemm<T>& g, const Corner<T>& at, int rows, Index columns, const T* s) {
  for (Index i = 0; i < rows; i++)
    for (Index j = 0; j < min(columns, at.columns); j++) {
      T& y = at.y[i * g.y_row + j * g.y_column];
      T x = s[i * columns + j];
      if (!at.is_first) x = y + x;
      if (at.is_last && at.bias) x = x + at.bias[i * g.bias_row + j * g.bias_column];
      y = at.is_last ? one_nan(x) : x;
    }
}

template <class T, int ROWS, int VECTORS>
inline void put(const Gemm<T>& g, const Corner<T>& at, const Vector<T> (&s)[ROWS][VECTORS]) {
  constexpr int n = lanes<T>;
  bool is_strided = g.y_column != 1 || (at.bias && g.bias_column != 0 && g.bias_column != 1);
  if (is_strided || at.columns < VECTORS * n) {
    T each[ROWS * VECTORS * n];  // of s itself no address is taken: it stays in registers
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) store(each + (i * VECTORS + v) * n, s[i][v]);
    return put_each(g, at, ROWS, VECTORS * n, each);
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++) {
      T* y = at.y + i * g.y_row + v * n;
      Vector<T> x = s[i][v];
      if (!at.is_first) x = load<Vector<T>>(y) + x;
      if (at.is_last && at.bias) {
        const T* bias = at.bias + i * g.bias_row;
        x = x + (g.bias_column ? load<Vector<T>>(bias + v * n) : broadcast(*bias));
      }
      store(y, at.is_last ? one_nan(x) : x);
    }
}

// One chunk of ROWS rows of a and VECTORS vectors of columns of b. Packed, a holds most_rows numbers for each p.
template <class T, int ROWS, int VECTORS, bool IS_PACKED>
void tile(const Gemm<T>& g, const Corner<T>& at, Index depth, const T* a, Index a_row, Index a_k, const T* b, Index b_k) {
  Vector<T> s[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++) s[i][v] = Vector<T>{}, __builtin_prefetch(at.y + i * g.y_row + v * lanes<T>, 1);
  for (Index p = 0; p < depth; p++) {
    Vector<T> x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = load<Vector<T>>(b + v * lanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      Vector<T> w = broadcast(a[IS_PACKED ? i : i * a_row]);
#pragma GCC unroll 3
      for (int v = 0; v < VECTORS; v++) s[i][v] = fma(w, x[v], s[i][v]);
    }
    a += IS_PACKED ? most_rows : a_k;
    b += b_k;
  }
  put<T, ROWS, VECTORS>(g, at, s);
}

template <class T>
using Tile = void (*)(const Gemm<T>&, const Corner<T>&, Index, const T*, Index, Index, const T*, Index);

// The tiles of every height and width up to the largest.
template <class T, bool IS_PACKED>
struct Tiles {
  Tile<T> of[most_rows][most_vectors];

  template <int... i>
  static constexpr Tiles all(Indices<i...>) {
    return {{{tile<T, i + 1, 1, IS_PACKED>, tile<T, i + 1, 2, IS_PACKED>, tile<T, i + 1, 3, IS_PACKED>}...}};
  }
};

template <class T, bool IS_PACKED>
constexpr Tiles<T, IS_PACKED> tiles = Tiles<T, IS_PACKED>::all(typename Counted<most_rows>::type{});

// How many vectors the panel of b that begins at column j has.
template <class T>
Index vectors_at(const Gemm<T>& g, Index j) {
  return blocks(min(g.n - j, width<T>), lanes<T>);
}

// ---------------------------------------------------------------------------------- packing
// to[p·to_step + i] = from[i·step + p·k_step], i < count, and 0 up to `wide`.
template <int SIDE, class T>
void pack(T* to, Index to_step, const T* from, Index count, Index wide, Index step, Index depth, Index k_step) {
  using Square = Vector<T, SIDE>;
  Index done = 0;  // of the i; what is left of them, and of the p below, goes one by one
  if (step == 1 || k_step == 1) {
    for (; done + SIDE <= count; done += SIDE) {
      const T* x = from + done * step;
      T* y = to + done;
      Index p = 0;
      if (step == 1)
        for (; p < depth; p++) store(y + p * to_step, load<Square>(x + p * k_step));
      else
        for (; p + SIDE <= depth; p += SIDE) {
          Square square[SIDE];
          for (int i = 0; i < SIDE; i++) {
            square[i] = load<Square>(x + i * step + p);
            __builtin_prefetch(x + i * step + p + 1024 / sizeof(T));
          }
          transpose(square);
          for (int i = 0; i < SIDE; i++) store(y + (p + i) * to_step, square[i]);
        }
      for (; p < depth; p++)
        for (int i = 0; i < SIDE; i++) y[p * to_step + i] = x[i * step + p * k_step];
    }
  }
  for (Index p = 0; p < depth; p++) {
    for (Index i = done; i < count; i++) to[p * to_step + i] = from[i * step + p * k_step];
    for (Index i = count; i < wide; i++) to[p * to_step + i] = 0;
  }
}

template <class T>
constexpr int side = min(most_rows, 32 / sizeof(T));

// The panel of b that begins at column j.
template <class T>
void pack_b(const Gemm<T>& g, T* to, Index j, Index p0, Index depth) {
  const T* from = g.b + j * g.b_column + p0 * g.b_k;
  Index wide = vectors_at(g, j) * lanes<T>;
  pack<side<T>>(to, wide, from, min(g.n - j, width<T>), wide, g.b_column, depth, g.b_k);
}

}  // namespace
}  // namespace kinone::KINONE_ISA

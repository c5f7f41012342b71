// A tile of a convolution's result in registers: some pixels × some vectors of channels, over one chunk of the sum.
//
//   s = +0;   for p in the chunk, in order:   s[i, o] = fma(row i at p, b[p, o], s[i, o])
//   y = s for the first chunk, y + s for the others; after the last, + bias, + residual, relu; a NaN is np.nan's
#pragma once

#include "product.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr int most_vectors_of_columns = registers == 32 ? 4 : 2;
constexpr int rows_of(int vectors) { return vectors == most_vectors_of_columns ? 6 : 8; }

template <class T>
struct Piece {
  const T* const* at;  // row i of tap t begins at at[t·apart + i] + channel
  Index apart, channel;
  Index step, run;  // how far apart the numbers p of a tap lie, and how many they are
  const T* b;      // a panel (taps, run, columns of the tile), tap t lying at position[t] or, without positions, at t
  const Index* position;
  Index begin, end;  // the p of the chunk, counted over all taps
  T* const* y;      // row i of the result begins at y[i] + column
  Index column, rows, columns;  // those that exist: a tile may be larger than what is left
  bool is_first, is_last;
  const T* bias = nullptr;  // of column 0 of y
  const T *y0 = nullptr, *residual = nullptr;  // residual lies as y does, which begins at y0
  bool is_relu = false, is_large = false;
  Index ahead = 0, pace = 0;  // at p, what lies ahead + p·pace behind row 0 of the tap is fetched into a cache
};

// x is what column `column` and those after it have got in a row y of the result.
template <class V, class T>
inline void finish(const Piece<T>& t, T* y, Index column, V x) {
  if (t.bias) x = x + load<V>(t.bias + column);
  if (t.residual) x = x + load<V>(t.residual + (y - t.y0) + column);
  if (t.is_relu) x = x <= 0 ? V{} : x;
  if (t.is_large) return store_past_caches(y + column, one_nan(x));
  store(y + column, one_nan(x));
}

template <class V, class T>
inline void put(const Piece<T>& t, T* y, Index column, V s) {
  V x = t.is_first ? s : load<V>(y + column) + s;
  if (t.is_last)
    finish(t, y, column, x);
  else
    store(y + column, x);
}

// At the right edge: as many vectors as fit from number j on, then narrower ones.
template <int LANES, class T>
__attribute__((noinline)) void put_some(const Piece<T>& t, Index width, const T* s, Index j = 0) {
  Index end = t.columns - (t.columns - j) % LANES;
  for (Index i = 0; i < t.rows; i++)
    for (Index k = j; k < end; k += LANES) put(t, t.y[i], t.column + k, load<Vector<T, LANES>>(s + i * width + k));
  if constexpr (LANES > 1)
    if (end < t.columns) put_some<LANES / 2>(t, width, s, end);
}

template <class T, int LANES, int VECTORS>
void piece(const Piece<T>& t) {
  using V = Vector<T, LANES>;
  constexpr int ROWS = rows_of(VECTORS), width = VECTORS * LANES;
  V s[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++)
      if (s[i][v] = V{}; !t.is_large) __builtin_prefetch(t.y[i] + t.column + v * LANES, 1);
  Index tap = 0, p = t.begin;
  if (p) tap = p / t.run, p = p % t.run;
  for (Index left = t.end - t.begin; left > 0; tap++, p = 0) {
    Index count = min(t.run - p, left);
    const T* a[ROWS];
    for (int i = 0; i < ROWS; i++) a[i] = t.at[tap * t.apart + i] + t.channel + p * t.step;
    const T* next = a[0] + t.ahead;
    const T* b = t.b + ((t.position ? t.position[tap] : tap) * t.run + p) * width;
    for (Index q = 0, k = 0; q < count; q++, k += t.step, b += width) {
      V x[VECTORS];
      for (int v = 0; v < VECTORS; v++) x[v] = load<V>(b + v * LANES);
      __builtin_prefetch(next), next += t.pace;
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) {
        V w = a[i][k] - V{};
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) s[i][v] = fma(w, x[v], s[i][v]);
      }
    }
    left -= count;
  }
  if (t.columns < width) return put_some<LANES>(t, width, reinterpret_cast<const T*>(s));
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
    if (i < t.rows)
      for (int v = 0; v < VECTORS; v++) put(t, t.y[i], t.column + v * LANES, s[i][v]);
}

// How the columns of a group are cut into panels of up to most_vectors_of_columns vectors; few of them take narrow ones.
template <class T>
struct Panels {
  Index lanes, vectors, count;

  explicit Panels(Index columns)
      : lanes(max(columns > KINONE_ISA::lanes<T> / 2   ? KINONE_ISA::lanes<T>
                  : columns > KINONE_ISA::lanes<T> / 4 ? KINONE_ISA::lanes<T> / 2
                                                       : KINONE_ISA::lanes<T> / 4, 1)),
        vectors(blocks(columns, lanes)), count(blocks(vectors, most_vectors_of_columns)) {}

  Index begin(Index panel) const { return panel * vectors / count * lanes; }  // its first column
  Index width(Index panel) const { return begin(panel + 1) - begin(panel); }
  Index rows(Index panel) const { return rows_of(width(panel) / lanes); }

  void compute(const Piece<T>& t, Index panel) const {
    constexpr int whole = KINONE_ISA::lanes<T>, half = max(whole / 2, 1), quarter = max(whole / 4, 1);
    if (lanes < whole) return lanes == half ? piece<T, half, 1>(t) : piece<T, quarter, 1>(t);
    widest(t, width(panel) / lanes, typename Counted<most_vectors_of_columns>::type{});
  }

 private:
  template <int... i>
  static void widest(const Piece<T>& t, Index vectors, Indices<i...>) {
    constexpr void (*tiles[])(const Piece<T>&) = {piece<T, KINONE_ISA::lanes<T>, i + 1>...};
    tiles[vectors - 1](t);
  }
};

}  // namespace
}  // namespace kinone::KINONE_ISA

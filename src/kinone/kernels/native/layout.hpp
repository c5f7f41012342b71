// How numbers come to lie in another order: the transposition that packs matrices and turns images channels-last.
#pragma once

#include "simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

// to[row(j) + i] = from[i·step + j], i < m, j < n, where row(j) = (j / inner)·outer_row + (j % inner)·inner_row.
// Squares are turned in registers; what does not fill one goes number by number.
template <class T>
void transposed(T* to, Index outer_row, Index inner_row, Index inner, const T* from, Index step, Index m, Index n) {
  constexpr int side = 32 / sizeof(T);
  using Square = Vector<T, side>;
  Index at = 0, j = 0;  // j % inner, and the first of the rows that are under way
  T* row = to;
  auto next = [&] {
    row += inner_row;
    if (++at == inner) at = 0, row += outer_row - inner * inner_row;
  };
  for (; j + side <= n; j += side) {
    T* rows[side];
    for (int q = 0; q < side; q++) rows[q] = row, next();
    Index i = 0;
    for (; i + side <= m; i += side) {
      Square square[side];
      for (int q = 0; q < side; q++) square[q] = load<Square>(from + (i + q) * step + j);
      transpose(square);
      for (int q = 0; q < side; q++) store(rows[q] + i, square[q]);
    }
    for (; i < m; i++)
      for (int q = 0; q < side; q++) rows[q][i] = from[i * step + j + q];
  }
  for (; j < n; j++, next())
    for (Index i = 0; i < m; i++) row[i] = from[i * step + j];
}

}  // namespace
}  // namespace kinone::KINONE_ISA

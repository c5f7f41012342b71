// Copies that turn rows into columns: what lies plane by plane comes to lie channel by channel, and back.
#pragma once

#include "simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

// to[j·to_row + i] = from[i·from_row + j], i < rows, j < columns: in squares as wide as a vector, the rest one by one.
template <class T>
void transposed(T* to, long to_row, const T* from, long from_row, long rows, long columns) {
  constexpr int side = lanes<T>;
  long i = 0;
  for (; i + side <= rows; i += side) {
    long j = 0;
    for (; j + side <= columns; j += side) {
      Vector<T> square[side];
      for (int k = 0; k < side; k++) square[k] = load<Vector<T>>(from + (i + k) * from_row + j);
      transpose(square);
      for (int k = 0; k < side; k++) store(to + (j + k) * to_row + i, square[k]);
    }
    for (; j < columns; j++)
      for (int k = 0; k < side; k++) to[j * to_row + i + k] = from[(i + k) * from_row + j];
  }
  for (; i < rows; i++)
    for (long j = 0; j < columns; j++) to[j * to_row + i] = from[i * from_row + j];
}

}  // namespace
}  // namespace kinone::KINONE_ISA

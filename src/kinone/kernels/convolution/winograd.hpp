// Winograd's F(4×4, 3×3): 4×4 numbers of a 3×3 convolution from 36 products instead of 144, and its two transposes.
//
// A row of results y[i] = Σₖ w[k]·x[i + k], i < 4, is the transpose of a product of polynomials, which can be evaluated
// at six points, multiplied there, and interpolated: y = Y·[(X·x) ⊙ (W·w)]. The same matrices give the gradient of w,
// ∂w[k] = Σᵢ x[i + k]·∂y[i]: it is Wᵀ·[(X·x) ⊙ (Yᵀ·∂y)]. The points are 0, ±5/8, ±3/2 and ∞: the error is a quarter of
// what 0, ±1, ±2 and ∞ would give, at the same cost, and all constants but those of w are exact.
//
// Below are the products with those five matrices, in the order of operations that profile kn1 fixes. Numbers of two
// dimensions are transformed down each column first, then along each row.
#pragma once

#include "../native/simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr int points = 6, pairs = points * points;
// Each constant below is rounded to float32 where it is used, and only there.
constexpr double a = 5 / 8., a2 = a * a, a3 = a2 * a;
constexpr double b = 3 / 2., b2 = b * b, b3 = b2 * b;
// 1 over the product of a point's distances from the others.
constexpr double at_0 = 256 / 225., at_a = -2048 / 2975., at_b = 128 / 1071.;

using Numbers = Vector<float>;

// k·x + y
inline Numbers axpy(float k, Numbers x, Numbers y) { return fma(broadcast(k), x, y); }
inline Numbers times(float k, Numbers x) { return broadcast(k) * x; }

inline void of_x(const Numbers (&x)[6], Numbers (&y)[points]) {
  Numbers even = axpy(-b2, x[2], x[4]), odd = axpy(-b2, x[1], x[3]);
  y[1] = axpy(a, odd, even);
  y[2] = axpy(-a, odd, even);
  even = axpy(-a2, x[2], x[4]), odd = axpy(-a2, x[1], x[3]);
  y[3] = axpy(b, odd, even);
  y[4] = axpy(-b, odd, even);
  y[0] = axpy(a2 * b2, x[0], axpy(-(a2 + b2), x[2], x[4]));
  y[5] = axpy(a2 * b2, x[1], axpy(-(a2 + b2), x[3], x[5]));
}

inline void of_w(const Numbers (&w)[3], Numbers (&y)[points]) {
  Numbers even = axpy(a2 * at_a, w[2], times(at_a, w[0]));
  y[1] = axpy(a * at_a, w[1], even);
  y[2] = axpy(-a * at_a, w[1], even);
  even = axpy(b2 * at_b, w[2], times(at_b, w[0]));
  y[3] = axpy(b * at_b, w[1], even);
  y[4] = axpy(-b * at_b, w[1], even);
  y[0] = times(at_0, w[0]);
  y[5] = w[2];
}

inline void to_y(const Numbers (&x)[points], Numbers (&y)[4]) {
  Numbers even_a = x[1] + x[2], odd_a = x[1] - x[2], even_b = x[3] + x[4], odd_b = x[3] - x[4];
  y[0] = (x[0] + even_a) + even_b;
  y[1] = axpy(b, odd_b, times(a, odd_a));
  y[2] = axpy(b2, even_b, times(a2, even_a));
  y[3] = axpy(b3, odd_b, axpy(a3, odd_a, x[5]));
}

// The transpose of to_y.
inline void of_y(const Numbers (&g)[4], Numbers (&y)[points]) {
  Numbers even = axpy(a2, g[2], g[0]), odd = axpy(a2, g[3], g[1]);
  y[1] = axpy(a, odd, even);
  y[2] = axpy(-a, odd, even);
  even = axpy(b2, g[2], g[0]), odd = axpy(b2, g[3], g[1]);
  y[3] = axpy(b, odd, even);
  y[4] = axpy(-b, odd, even);
  y[0] = g[0];
  y[5] = g[3];
}

// The transpose of of_w.
inline void to_w(const Numbers (&x)[points], Numbers (&w)[3]) {
  Numbers even_a = x[1] + x[2], odd_a = x[1] - x[2], even_b = x[3] + x[4], odd_b = x[3] - x[4];
  w[0] = axpy(at_b, even_b, axpy(at_a, even_a, times(at_0, x[0])));
  w[1] = axpy(b * at_b, odd_b, times(a * at_a, odd_a));
  w[2] = axpy(b2 * at_b, even_b, axpy(a2 * at_a, even_a, x[5]));
}

// `transform` in both directions, of the numbers at(i, j); what comes out goes to put(i, j, number). Six rows of it are
// made three at a time, so that what lies between the two directions fits in registers.
template <auto transform, int IN, int OUT, class At, class Put>
__attribute__((always_inline)) inline void both_ways(const At& at, const Put& put) {
  constexpr int rows = OUT == 6 ? 3 : OUT;
#pragma GCC unroll 2
  for (int first = 0; first < OUT; first += rows) {
    Numbers half[rows][IN];
#pragma GCC unroll 6
    for (int j = 0; j < IN; j++) {
      Numbers column[IN], y[OUT];
#pragma GCC unroll 6
      for (int i = 0; i < IN; i++) column[i] = at(i, j);
      transform(column, y);
#pragma GCC unroll 6
      for (int i = 0; i < rows; i++) half[i][j] = y[first + i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
      Numbers y[OUT];
      transform(half[i], y);
#pragma GCC unroll 6
      for (int j = 0; j < OUT; j++) put(first + i, j, y[j]);
    }
  }
}

}  // namespace
}  // namespace kinone::KINONE_ISA

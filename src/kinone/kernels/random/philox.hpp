// Philox 4×32-10 on vectors of counters, and what reference.py makes of its words, operation by operation.
#pragma once

#include "../native/simd.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

using Words = Vector<Size>;
using Reals = Vector<double>;

// The words of elements 2n, 2n + 2, … and of 2n + 1, 2n + 3, …: a counter gives two.
struct Pair {
  Words even, odd;
};

// Of counters n, n + 1, …. Ten times c ← (hi(M₁c₂) ⊕ c₁ ⊕ k₀, lo(M₁c₂), hi(M₀c₀) ⊕ c₃ ⊕ k₁, lo(M₀c₀)), k ← k + W, each
// 32-bit number in the lower half of a lane: what stands in the upper one is never looked at.
inline Pair philox(const Draw& d, Size n) {
  Words lane;
  for (int i = 0; i < lanes<double>; i++) lane[i] = i;
  Words c0 = lane + n, c1 = c0 >> 32, c2 = Words{} + d.step, c3 = c2 >> 32;
  unsigned k0 = d.key[0], k1 = d.key[1];
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
    Words p0 = multiply_halves(c0, Words{} + 0xD2511F53), p1 = multiply_halves(c2, Words{} + 0xCD9E8D57);
    c0 = (p1 >> 32) ^ c1 ^ static_cast<Size>(k0);
    c2 = (p0 >> 32) ^ c3 ^ static_cast<Size>(k1);
    c1 = p1, c3 = p0;
  }
  constexpr Size half = 0xFFFFFFFF;
  return {(c0 & half) | c1 << 32, (c2 & half) | c3 << 32};
}

// Whole numbers below 2⁵² as float64: their bits are the fraction of a number between 2⁵² and 2⁵³.
inline Reals real(Words n) { return reinterpret_cast<Reals>(n | 0x4330000000000000) - 0x1p52; }

// u = (⌊w/2⁶⁴⁻ᵇ⌋ + ½)·2⁻ᵇ
inline Reals open_unit(Words w, int bits) {
  double unit = __builtin_bit_cast(double, (Index{1023} - bits) << 52);
  return (real(w >> (64 - bits)) + 0.5) * unit;
}

// Polynomials, the highest power first; no operation is fused.
template <int n>
inline Reals horner(const double (&c)[n], Reals x) {
  Reals total = Reals{} + c[0];
  for (int i = 1; i < n; i++) total = total * x + c[i];
  return total;
}

template <int n>
inline Reals ratio(const double (&c)[2][n], Reals x) {
  return horner(c[0], x) / horner(c[1], x);
}

// ln x for normal x, as in reference.py: within 1 ulp.
inline Reals exact_log(Reals x) {
  constexpr double atanh[] = {2. / 21, 2. / 19, 2. / 17, 2. / 15, 2. / 13, 2. / 11, 2. / 9, 2. / 7, 2. / 5, 2. / 3};
  Words bits = reinterpret_cast<Words>(x);
  Reals m = reinterpret_cast<Reals>((bits & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000), e = real(bits >> 52) - 1022;
  auto is_small = m < 0x1.6a09e667f3bcdp-1;
  Reals f = (is_small ? m + m : m) - 1;
  e = is_small ? e - 1 : e;
  Reals s = f / (2 + f), squares = s * s, r = squares * horner(atanh, squares);
  return e * 0x1.62e42fee00000p-1 - ((s * (f - r) - e * 0x1.a39ef35793c76p-33) - f);
}

// Wichura (1988), Algorithm AS 241, PPND16: numerators and denominators.
constexpr double centre[2][8] = {
    {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608},
    {5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1}};
constexpr double tail[2][8] = {
    {7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734},
    {1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1}};
constexpr double far_tail[2][8] = {
    {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.2426609473880784386e-3, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772},
    {2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1}};

// Whether a lane is above the limit.
inline bool any_above(Reals x, double limit) {
  for (int half = lanes<double> / 2; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  return x[0] > limit;
}

// Φ⁻¹(u) for |u − ½| ≤ 0.425; elsewhere nothing to be used.
inline Reals central_quantile(Reals u) {
  Reals q = u - 0.5, r = 0.180625 - q * q;
  return q * ratio(centre, r < 0 ? Reals{} : r);
}

// Φ⁻¹(u) for the other u in (0, 1).
inline Reals tail_quantile(Reals u) {
  Reals r = sqrt(-exact_log(u < 0.5 ? u : 1 - u));
  Reals size = ratio(tail, r - 1.6);
  if (any_above(r, 5)) size = r > 5 ? ratio(far_tail, r - 5) : size;  // one element in 4·10¹⁰
  return u < 0.5 ? -size : size;
}

}  // namespace
}  // namespace kinone::KINONE_ISA

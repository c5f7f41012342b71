// Numbers of twice the digits: high + low, where low is less than what rounding made of high. With logarithms of that
// kind aᵇ = e^(b·ln a) can be rounded as if it had been computed exactly, and so can inverse hyperbolic functions.
#pragma once

#include "functions.hpp"

namespace kinone::KINONE_ISA {

struct Pair {
  Doubles high, low;
};

// a + b with nothing lost, for |a| ≥ |b|, or a = 0, or an a whose last digit is not below that of b.
inline Pair sum(Doubles a, Doubles b) {
  Doubles high = a + b;
  return {high, b - (high - a)};
}

inline Pair product(Doubles a, Doubles b) {
  Doubles high = a * b;
  return {high, fma(a, b, -high)};
}

inline Pair quotient(Pair a, Pair b) {
  Doubles inverse = 1 / b.high, high = a.high * inverse;
  return {high, (fma(-high, b.high, a.high) + (a.low - high * b.low)) * inverse};
}

inline Pair root(Pair a) {
  Doubles high = sqrt(a.high);
  return {high, high > 0 ? (fma(-high, high, a.high) + a.low) / (high + high) : Doubles{}};
}

inline Pair either(Bits choice, Pair a, Pair b) { return {choice ? a.high : b.high, choice ? a.low : b.low}; }

// The whole number nearest to x, |x| < 2⁵⁰, and, in the lowest 51 bits, the same as an integer.
inline Doubles nearest(Doubles x) { return (x + rounder) - rounder; }
inline Bits as_bits(Doubles whole) { return (Bits)(whole + rounder); }
inline Doubles as_doubles(Bits whole) { return (Doubles)(whole + (Bits)broadcast(rounder)) - rounder; }

// high + low, of which rounding to T makes what is nearest to the sum.
template <class T>
inline Doubles rounded(Pair x) {
  return decided<T>(x.high + x.low, [&] { return odd_sum(x.high, x.low); });
}

// ------------------------------------------------------------------------------------ logarithms and powers of e
constexpr double third = 1 / 3., rest_of_third = 0x1.5555555555555p-56;
constexpr double from_fifth[] = {1 / 5., 1 / 7., 1 / 9., 1 / 11., 1 / 13., 1 / 15., 1 / 17., 1 / 19., 1 / 21., 1 / 23.,
                                 1 / 25.};

// artanh s = s + s³/3 + s⁵/5 + …, s = a/b, for |s| ≤ 0.172: the first term left out is below 2⁻⁷¹ of the sum.
inline Pair artanh_of_ratio(Pair a, Pair b) {
  Pair s = quotient(a, b), z = product(s.high, s.high);
  z.low = fma(s.high + s.high, s.low, z.low);
  Doubles rest = polynomial(z.high, from_fifth), c = fma(z.high, rest, broadcast(third));  // 1/3 + z/5 + …
  Doubles c_low = fma(z.high, rest, third - c) + fma(z.low, rest, broadcast(rest_of_third));
  Pair cube = product(z.high, c), y = product(s.high, cube.high);
  cube.low = fma(z.high, c_low, fma(z.low, c, cube.low));
  y.low = fma(s.high, cube.low, fma(s.low, cube.high, y.low + s.low));
  Pair whole = sum(s.high, y.high);
  return {whole.high, whole.low + y.low};
}

constexpr double ln2_exact = 0x1.62e42fefa3800p-1, ln2_left = 0x1.ef35793c76730p-45;  // exact: times an exponent, too

// ln(a·2ⁿ) = (k + n)·ln 2 + 2·artanh((m − 1)/(m + 1)), a = m·2ᵏ, √½ ≤ m < √2, for normal a > 0 and whole n.
inline Pair log(Pair a, Doubles n) {
  Split of = split(a.high);
  Doubles low = a.low * (Doubles)(one_bits - of.exponent);
  Pair above = sum(of.m > 1 ? of.m : broadcast(1.0), of.m > 1 ? broadcast(1.0) : of.m);
  Pair y = artanh_of_ratio({of.m - 1, low}, {above.high, above.low + low});
  n += of.k;
  Pair whole = sum(n * ln2_exact, 2 * y.high);
  return {whole.high, fma(n, ln2_left, fma(y.low, 2, whole.low))};
}

constexpr double from_half[] = {1 / 2.,     1 / 6.,      1 / 24.,      1 / 120.,      1 / 720.,       1 / 5040.,
                                1 / 40320., 1 / 362880., 1 / 3628800., 1 / 39916800., 1 / 479001600., 1 / 6227020800.};

// eˣ = 2ⁿ·(high + low), x = n·ln 2 + r, |r| ≤ ½ ln 2, for |x| < 2000. To n comes the rounder, for `scaled`.
inline Pair exp(Pair x, Doubles& n) {
  n = fma(x.high, log2_e, rounder);
  Doubles whole = n - rounder;
  Pair r = sum(fma(-whole, ln2_exact, x.high), fma(-whole, ln2_left, x.low)), y = sum(broadcast(1.0), r.high);
  return {y.high, y.low + fma(r.high * r.high, polynomial(r.high, from_half), fma(r.high, r.low, r.low))};
}

}  // namespace kinone::KINONE_ISA

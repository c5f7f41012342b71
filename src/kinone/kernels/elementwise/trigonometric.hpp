// Circular and hyperbolic functions and their inverses on vectors of float64, as in functions.hpp: templates of the
// type that x holds, correctly rounded for float32, and for float64 within 1 ulp (tan 2). Each lane is computed by
// itself, with + − × ÷ √, fma and integers.
#pragma once

#include "pairs.hpp"

namespace kinone::KINONE_ISA {

// ------------------------------------------------------------------------------------ sine, cosine, tangent
// π/2 in three parts, each what its digits hold of the rest.
constexpr double quarter = 0x1.921fb54442d18p0, quarter_2 = 0x1.1a62633145c07p-54, quarter_3 = -0x1.f1976b7ed8fbcp-110;

// x = n·π/2 + high + low, |high| ≤ π/4.
struct Quarters {
  Bits n;  // right modulo 4
  Doubles high, low;
};

// Of one large x, m·2ᵉ: the binary digits of 2/π whose product with x is less than 4, 192 of them, times m (Payne and
// Hanek, 1983).
inline void reduce_large(double x, Index& n, double& high, double& low) {
  using Word = Size;
  using Words = unsigned __int128;
  static constexpr Word digits[] = {  // of 2/π, after 64 zeros
      0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
      0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
      0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
      0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};
  Word bits = __builtin_bit_cast(Word, x), m = (bits & ((Word{1} << 52) - 1)) | Word{1} << 52;
  int e = static_cast<int>(bits >> 52 & 2047) - 1075, from = e + 62;
  Word product[3], carry = 0;  // in units of 2⁻¹⁹⁰, modulo 4
  for (int i = 2; i >= 0; i--) {
    const Word* at = digits + from / 64 + i;
    Words both = (static_cast<Words>(at[0]) << 64 | at[1]) << from % 64;
    Words y = static_cast<Words>(m) * static_cast<Word>(both >> 64) + carry;
    product[i] = static_cast<Word>(y), carry = static_cast<Word>(y >> 64);
  }
  n = static_cast<Index>((product[0] >> 62) + (product[0] >> 61 & 1));
  // What n leaves, from −½ to ½, in units of 2⁻¹²⁸; then in three parts that a double holds exactly.
  auto rest = static_cast<__int128>((static_cast<Words>(product[0]) << 64 | product[1]) << 2 | product[2] >> 62);
  constexpr Word digits_42 = (Word{1} << 42) - 1;
  double a = static_cast<double>(static_cast<Index>(rest >> 84)) * 0x1p-44;
  double b = static_cast<double>(static_cast<Word>(rest >> 42) & digits_42) * 0x1p-86;
  double c = static_cast<double>(static_cast<Word>(rest) & digits_42) * 0x1p-128;
  double sum = a + (b + c), left = ((a - sum) + b) + c;
  high = sum * quarter;
  low = fma(sum, quarter, -high) + (sum * quarter_2 + left * quarter);
  if (x < 0) n = -n, high = -high, low = -low;
  if (e == 2047 - 1075) high = __builtin_nan("");
}

[[gnu::noinline]] inline Quarters reduce_large(Doubles x, Bits is_large) {
  Quarters q{};
  for (int i = 0; i < lanes<double>; i++)
    if (is_large[i]) {
      Index n;
      double high, low;
      reduce_large(x[i], n, high, low);
      q.n[i] = n, q.high[i] = high, q.low[i] = low;
    }
  return q;
}

constexpr double inverse_quarter = 0x1.45f306dc9c883p-1, quick = 0x1p30;  // up to which three parts of π/2 suffice

inline Quarters reduce(Doubles x) {
  Doubles n = fma(x, inverse_quarter, rounder) - rounder;
  Doubles first = fma(-n, quarter, x);  // exact: its last digit is not below that of x or of π/2
  Pair second = product(n, broadcast(quarter_2)), y = sum(first, -second.high);
  y = sum(y.high, fma(-n, quarter_3, y.low - second.low));
  Bits is_large = ~(magnitude(x) < quick);
  Quarters large{};
  if (any(is_large)) large = reduce_large(x, is_large);
  return {is_large ? large.n : as_bits(n), is_large ? large.high : y.high, is_large ? large.low : y.low};
}

// (sin(r)/r − 1)/z in z = r² ≤ (π/2)², to 2⁻⁶¹, and (cos(r) − 1 + z/2)/z² in z ≤ (π/4)².
constexpr double sine[] = {-0.16666666666666666,    0.008333333333333194,   -0.0001984126984120921, 2.7557319211135852e-06,
                           -2.5052106872674807e-08, 1.6058939699681274e-10, -7.642991332766019e-13, 2.7211733677976804e-15};
constexpr double cosine[] = {1 / 24.,        -1 / 720.,          1 / 40320.,         -1 / 3628800.,
                             1 / 479001600., -1 / 87178291200., 1 / 20922789888000.};

struct SinCos {
  Pair sin, cos;  // not yet added up
};

inline SinCos sin_cos(const Quarters& q) {
  Doubles r = q.high, z = r * r;
  Pair c = sum(broadcast(1.0), -0.5 * z);
  return {{r, fma(r * z, polynomial(z, sine), fma(-0.5 * z, q.low, q.low))},
          {c.high, c.low + fma(z * z, polynomial(z, cosine), -r * q.low)}};
}

// y, changing sign with every second n.
inline Doubles alternating(Doubles y, Bits n) { return (Doubles)((Bits)y ^ (n << 62 & sign_bit)); }

// sin(x + quarters·π/2), quarters 0 or 1, not yet added up.
template <Index quarters>
[[gnu::noinline]] Pair sin_by_quarters(Doubles x) {
  Quarters q = reduce(x);
  Bits n = q.n + quarters, is_cosine = (n & 1) != 0;
  auto [s, c] = sin_cos(q);
  return {alternating(is_cosine ? c.high : s.high, n), alternating(is_cosine ? c.low : s.low, n)};
}

// The same, for float32 by one series up to half a turn, n·π from x + quarters·π/2, if that decides.
template <class T, Index quarters>
inline Doubles sin_beside(Doubles x) {
  if constexpr (is_float<T>) {
    Doubles n = fma(x, 0.5 * inverse_quarter, broadcast(0.5 * quarters)) + rounder;
    Bits sign = (Bits)n << 63;
    n = (n - rounder) - 0.5 * quarters;
    Doubles r = fma(-n, 2 * quarter_2, fma(-n, 2 * quarter, x)), z = r * r, y = fma(r, z * polynomial(z, sine), r);
    auto careful = [&] {
      Pair y = sin_by_quarters<quarters>(x);
      return odd_sum(y.high, y.low);
    };
    return decided<T>((Doubles)((Bits)y ^ sign), careful, ~(magnitude(x) < quick));
  } else {
    Pair y = sin_by_quarters<quarters>(x);
    return y.high + y.low;
  }
}

template <class T>
inline Doubles sin(Doubles x) {
  return x == 0 ? x : sin_beside<T, 0>(x);
}

template <class T>
inline Doubles cos(Doubles x) {
  return sin_beside<T, 1>(x);
}

template <class T>
inline Doubles tan(Doubles x) {
  Quarters q = reduce(x);
  auto [sin, cos] = sin_cos(q);
  Doubles s = sin.high + sin.low, c = cos.high + cos.low;
  Bits is_odd = (q.n & 1) != 0;
  return x == 0 ? x : (is_odd ? -c : s) / (is_odd ? s : c);
}

// ------------------------------------------------------------------------------------ their inverses
// (arcsin(s)/s − 1)/z in z = s² ≤ ¼ and (arctan(s)/s − 1)/z in z ≤ (√2 − 1)², to 2⁻⁵⁸.
constexpr double arcsine[] = {0.16666666666666763,  0.07499999999970257,  0.044642857175124576,  0.030381942683467465,
                              0.02237221566385665,  0.017351600037183838, 0.01398096202132899,   0.011397771865038472,
                              0.010786549825676665, 0.00368297027450902,  0.021763661102852827, -0.021077508051461604,
                              0.03267701851826902};
constexpr double arctangent[] = {-0.333333333333332,   0.19999999999954077,  -0.14285714280248096, 0.11111110786119928,
                                 -0.09090897835977049, 0.07692061629068732,  -0.06663120293533886, 0.058480082556039883,
                                 -0.0503984249591796,  0.03807824313096072,  -0.017922192725460168};

// arcsin |x|, for |x| < ½, or of √((1 − |x|)/2), which is half of what lacks to π/2, beyond.
inline Pair asin_of_less(Doubles x, Bits is_beyond) {
  Doubles size = magnitude(x), half = 0.5 - 0.5 * size;
  Pair s = root({half, Doubles{}});
  s = {is_beyond ? s.high : size, is_beyond ? s.low : Doubles{}};
  Doubles z = is_beyond ? half : size * size;
  return {s.high, fma(s.high * z, polynomial(z, arcsine), s.low)};
}

template <class T>
inline Doubles asin(Doubles x) {
  Bits is_beyond = magnitude(x) >= 0.5;
  Pair a = asin_of_less(x, is_beyond), y = sum(broadcast(quarter), -2 * a.high);
  y.low += quarter_2 - 2 * a.low;
  return with_sign(rounded<T>(either(is_beyond, y, a)), x);
}

// π/2 − arcsin x;  from ½ on 2·arcsin √((1 − x)/2), up to −½ π less that of |x|.
template <class T>
inline Doubles acos(Doubles x) {
  Bits is_beyond = magnitude(x) >= 0.5;
  Pair a = asin_of_less(x, is_beyond);
  Doubles factor = with_sign(broadcast(1.0), x) * (is_beyond ? broadcast(2.0) : broadcast(-1.0));
  Doubles quarters = is_beyond ? (x < 0 ? broadcast(2.0) : Doubles{}) : broadcast(1.0);
  Pair y = sum(quarters * quarter, factor * a.high);
  return rounded<T>({y.high, y.low + fma(factor, a.low, quarters * quarter_2)});
}

// arctan t for t ≥ 0: of t, or π/4 + that of (t − 1)/(t + 1), or π/2 + that of −1/t, from √2 − 1 and √2 + 1 on.
inline Pair arctan(Doubles t) {
  Doubles one = broadcast(1.0), none{};
  Bits is_far = t > 0x1.3504f333f9de6p1, is_middle = (t > 0x1.a827999fcef32p-2) & ~is_far, is_above = t > 1;
  t = at_most(t, 0x1p60);
  Pair less = sum(is_above ? t : -one, is_above ? -one : t), more = sum(is_above ? t : one, is_above ? one : t);
  Pair s = quotient({is_middle ? less.high : is_far ? -one : t, is_middle ? less.low : none},
                    {is_middle ? more.high : is_far ? t : one, is_middle ? more.low : none});
  Doubles z = s.high * s.high, quarters = is_middle ? 0.5 * one : is_far ? one : none;
  Pair y = sum(quarters * quarter, s.high);
  return {y.high, y.low + fma(s.high * z, polynomial(z, arctangent), fma(quarters, quarter_2, s.low))};
}

template <class T>
inline Doubles atan(Doubles x) {
  return with_sign(rounded<T>(arctan(magnitude(x))), x);
}

// The angle of the point (x, y): that of the nearer axis and ± arctan of what is ≤ 1.
template <class T>
inline Doubles atan2(Doubles y, Doubles x) {
  Doubles height = magnitude(y), width = magnitude(x), one = broadcast(1.0), none{};
  Bits is_steep = height > width, is_left = (Bits)x < 0;
  Doubles t = (is_steep ? width : height) / (is_steep ? height : width);
  Pair a = arctan(height == width ? (height == 0 ? none : one) : t);  // 0/0 and ∞/∞ are no points, but their angles are
  Doubles sign = is_steep != is_left ? -one : one, quarters = is_steep ? one : is_left ? 2 * one : none;
  Pair angle = sum(quarters * quarter, sign * a.high);
  Doubles found = rounded<T>({angle.high, angle.low + fma(sign, a.low, quarters * quarter_2)});
  return x != x ? x : with_sign(found, y);
}

// ------------------------------------------------------------------------------------ hyperbolic functions
constexpr double hyperbolic_sine[] = {1 / 6., 1 / 120., 1 / 5040., 1 / 362880., 1 / 39916800., 1 / 6227020800.};
constexpr double hyperbolic_cosine[] = {1 / 2.,       1 / 24.,        1 / 720.,        1 / 40320.,
                                        1 / 3628800., 1 / 479001600., 1 / 87178291200.};

// x = k·ln 2 + r:   sinh x = s·cosh r + c·sinh r,   cosh x = c·cosh r + s·sinh r,   c, s = (2ᵏ ± 2⁻ᵏ)/2.
struct Hyperbolic {
  Doubles c, s;  // half of them, which are finite where the results are
  Doubles r, sinh, cosh;  // sinh r − r, cosh r − 1
};

inline Hyperbolic hyperbolic(Doubles size) {
  size = at_most(size, 710.6);  // where the results have long been ∞
  Doubles k = nearest(size * log2_e);
  Pair r = sum(fma(-k, ln2_exact, size), -k * ln2_left);
  Bits exponent = as_bits(k) << 52;
  Doubles up = (Doubles)(exponent + (one_bits - (Index{2} << 52)));
  Doubles down = k < 500 ? (Doubles)((one_bits - (Index{2} << 52)) - exponent) : Doubles{};
  Doubles z = r.high * r.high;
  return {up + down, up - down, r.high, fma(r.high * z, polynomial(z, hyperbolic_sine), r.low),
          fma(z, polynomial(z, hyperbolic_cosine), r.high * r.low)};
}

// 2·(a·cosh r + b·sinh r)
template <class T>
inline Doubles both(Doubles a, Doubles b, const Hyperbolic& of) {
  Pair first = product(b, of.r), y = sum(a, first.high);
  return 2 * rounded<T>({y.high, y.low + (first.low + fma(a, of.cosh, b * of.sinh))});
}

template <class T>
inline Doubles sinh(Doubles x) {
  Hyperbolic of = hyperbolic(magnitude(x));
  Doubles y = with_sign(both<T>(of.s, of.c, of), x);
  return magnitude(x) < 0x1p-30 ? x : y;  // half of it might have lost a digit
}

template <class T>
inline Doubles cosh(Doubles x) {
  Hyperbolic of = hyperbolic(magnitude(x));
  return both<T>(of.c, of.s, of);
}

// ------------------------------------------------------------------------------------ their inverses
// y, whose logarithm is needed, is about 2x: where its square was too large, it is just that.
inline Pair log_of_double(Doubles x, Pair y) {
  Bits is_huge = x > 0x1p500;
  return log({is_huge ? x * 0x1p-99 : y.high, is_huge ? Doubles{} : y.low}, is_huge ? broadcast(100.0) : Doubles{});
}

// ln(|x| + √(x² + 1)), and near 0 artanh(|x|/√(x² + 1)).
template <class T>
inline Doubles asinh(Doubles x) {
  Doubles size = magnitude(x), one = broadcast(1.0);
  Pair square = product(size, size), more = sum(size > 1 ? square.high : one, size > 1 ? one : square.high);
  Pair w = root({more.high, more.low + square.low}), y = sum(w.high, size);
  Pair near = artanh_of_ratio({size, Doubles{}}, w);
  Pair far = log_of_double(size, {y.high, y.low + w.low});
  Doubles found = with_sign(rounded<T>(either(size < 0.17, near, far)), x);
  return size < infinity ? found : x;
}

// ln(x + √(x² − 1)), and near 1 artanh(√(x² − 1)/x).
template <class T>
inline Doubles acosh(Doubles x) {
  Pair square = product(x, x), less = sum(square.high, broadcast(-1.0));
  Pair w = root({less.high, less.low + square.low}), y = sum(x, w.high);
  Pair near = artanh_of_ratio(w, {x, Doubles{}});
  Doubles found = rounded<T>(either(x < 1.014, near, log_of_double(x, {y.high, y.low + w.low})));
  found = x < infinity ? found : x;
  return x < 1 ? broadcast(__builtin_nan("")) : found;
}

// ½ ln((1 + |x|)/(1 − |x|)), or the series.
template <class T>
inline Doubles atanh(Doubles x) {
  Doubles size = magnitude(x), one = broadcast(1.0);
  Pair near = artanh_of_ratio({size, Doubles{}}, {one, Doubles{}});
  Pair far = log(quotient(sum(one, size), sum(one, -size)), Doubles{});
  Doubles y = rounded<T>(either(size < 0.17, near, {0.5 * far.high, 0.5 * far.low}));
  y = size < 1 ? y : size == 1 ? broadcast(infinity) : broadcast(__builtin_nan(""));
  return with_sign(y, x);
}

}  // namespace kinone::KINONE_ISA

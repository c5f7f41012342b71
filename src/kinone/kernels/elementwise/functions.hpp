// Exponentials, logarithms and the error function on vectors of float64.
//
// Each is a template of T, the type of the numbers that x holds: float, in float64 of course, or double. The result is
// within two units in the last place of float64 (erfc: six); with T = float, rounding it to float32 gives the correctly
// rounded value of the function for each of the 2³² numbers, which leaves nothing to choose: that is profile kn1. It is
// proven by trying them all (docs/reference/correct-rounding.md), and the last bits of some constants below are what they
// are because of it.
// With T = double the bits are those that the operations below have, in their order: +, −, ×, ÷ and fma of float64,
// rounded alike by every processor. A NaN is passed on, but with which bits is for whoever stores it (`one_nan`).
//
// The polynomials are least-squares fits of the relative error over Chebyshev nodes; the lowest coefficient first.
#pragma once

#include "../native/simd.hpp"

namespace kinone::KINONE_ISA {

using Doubles = Vector<double>;
using Bits = Vector<Index>;
using Floats = Vector<float, lanes<double>>;  // half a vector: as many as Doubles has

template <class T>
constexpr bool is_float = false;
template <>
inline constexpr bool is_float<float> = true;

// f(x…), f a function of Doubles, for a whole vector of float32, or of float64.
template <class F, class... X>
inline Vector<double> in_double(const F& f, Vector<double> x, X... others) {
  return f(x, others...);
}

template <int... i>
inline Doubles half_of(Vector<float> x, int half, Indices<i...>) {
  constexpr int n = sizeof...(i);
  Floats y = half ? __builtin_shufflevector(x, x, (n + i)...) : __builtin_shufflevector(x, x, i...);
  return doubles(y);
}
template <int... i>
inline Vector<float> joined(Doubles a, Doubles b, Indices<i...>) {
  constexpr int n = sizeof...(i);
  return __builtin_shufflevector(rounded_to<float>(a), rounded_to<float>(b), i..., (n + i)...);
}

template <class F, class... X>
inline Vector<float> in_double(const F& f, Vector<float> x, X... others) {
  using All = typename Counted<lanes<double>>::type;
  return joined(f(half_of(x, 0, All{}), half_of(others, 0, All{})...),
                f(half_of(x, 1, All{}), half_of(others, 1, All{})...), All{});
}

// ------------------------------------------------------------------------------ what they are made of
template <int n>
inline Doubles polynomial(Doubles x, const double (&c)[n]) {
  Doubles y = broadcast(c[n - 1]);
#pragma GCC unroll 32
  for (int i = n - 2; i >= 0; i--) y = fma(y, x, broadcast(c[i]));
  return y;
}

inline Doubles fma(Doubles a, double b, Doubles c) { return fma(a, broadcast(b), c); }
inline Doubles fma(Doubles a, double b, double c) { return fma(a, broadcast(b), broadcast(c)); }

// A NaN stays one.
inline Doubles at_least(Doubles x, double bound) {
  Doubles least = broadcast(bound);
  return x < least ? least : x;
}
inline Doubles at_most(Doubles x, double bound) {
  Doubles most = broadcast(bound);
  return x > most ? most : x;
}

constexpr Index sign_bit = Index{1} << 63;
constexpr Index one_bits = Index{1023} << 52;  // of 1.0
inline Doubles magnitude(Doubles x) { return (Doubles)((Bits)x & ~sign_bit); }
inline Doubles with_sign(Doubles y, Doubles x) { return (Doubles)((Bits)y | ((Bits)x & sign_bit)); }  // y ≥ 0, or x's

// Whether a lane lies beyond ±bound or is no number: seldom, so that what it needs is done only then.
inline bool any_beyond(Doubles x, double bound) {
  return __builtin_expect(any_above((Bits)x & ~sign_bit, __builtin_bit_cast(Index, bound)), 0);
}

constexpr double infinity = __builtin_inf();
constexpr double log2_e = 0x1.71547652b82fep+0, log2_e_rest = 0x1.777d0ffda0d24p-56;
constexpr double log10_e = 0x1.bcb7b1526e50ep-2, log10_e_rest = 0x1.95355baaafad3p-57;
constexpr double ln2 = 0x1.62e42fefa39efp-1;
constexpr double ln2_high = 0x1.62e42feep-1, ln2_rest = 0x1.a39ef35793c76p-33;  // high: times 2¹¹ and less, exact
constexpr double log10_2_high = 0x1.34413508p-2, log10_2_rest = 0x1.f79fef311f12bp-34;

// a + b, |a| ≥ |b|, rounded to odd: of the two numbers beside the sum, the one whose last bit is 1. Rounded again to
// float32 it goes where the sum itself would go, since no middle between two float32 numbers has that bit.
inline Doubles odd_sum(Doubles a, Doubles b) {
  Doubles y = a + b, lost = b - (y - a);
  Bits is_below = (Bits)((Vector<Size>)((Bits)y ^ (Bits)lost) >> 63);
  return lost == 0 ? y : (Doubles)(((Bits)y - is_below) | 1);
}

// y; or, where that lies within so many of its last units of the middle of two float32 numbers that rounding it to one
// of them would be a guess, careful(), whose error is smaller. So few do that it costs no more than the question.
template <class T, Index units = 4, class F>
inline Doubles decided(Doubles y, const F& careful) {
  constexpr Index middle = 0x10000000, far = 0x1fffffff - (2 * units - 1);
  if constexpr (!is_float<T>) return y;
  Bits above = (Bits)y + (middle + units);
  if (__builtin_expect(!any_without(above, far), 1)) return y;
  return (above & far) == 0 ? careful() : y;
}

// The same where the caller is unsure for another reason, too.
template <class T, class F>
inline Doubles decided(Doubles y, const F& careful, Bits is_unsure) {
  y = decided<T>(y, careful);
  return is_float<T> && any(is_unsure) ? (is_unsure ? careful() : y) : y;
}

// ------------------------------------------------------------------------------ exponentials
// Adding it rounds to a whole number, which then stands in the lowest bits.
constexpr double rounder = 0x1.8p52;

// (eʳ − 1)/r for |r| ≤ ½ ln 2.
constexpr double exponential[] = {
    0x1.0000000000000p+0,  0x1.0000000000000p-1,  0x1.5555555555559p-3,  0x1.555555555554cp-5,
    0x1.111111110f659p-7,  0x1.6c16c16c1b327p-10, 0x1.a01a01b000a71p-13, 0x1.a01a018b42611p-16,
    0x1.71ddf818f355ep-19, 0x1.27e5198b306aep-22, 0x1.af5f183d4e434p-26, 0x1.1f102072e3f87p-29};

// The same to 2⁻⁴³: enough for float32 where `decided` asks afterwards, and for activations.
constexpr double rough_exponential[] = {
    0x1.fffffffffff99p-1,  0x1.fffffffff7353p-2,  0x1.555555556d963p-3,  0x1.55555573f4dc9p-5, 0x1.111110d92cd3ap-7,
    0x1.6c164e63475d6p-10, 0x1.a01a8d5b43f27p-13, 0x1.a159c88e163adp-16, 0x1.71ddf372e6870p-19};
constexpr Index rough_units = 2048;

// eˣ = 2ⁿ·eʳ, n whole and |r| ≤ ½ ln 2.
struct Reduced {
  Doubles n;  // + rounder
  Doubles r;
};

inline Reduced reduced(Doubles x) {
  Doubles n = fma(x, log2_e, rounder), whole = n - rounder;
  return {n, fma(whole, -ln2_rest, fma(whole, -ln2_high, x))};
}
inline Reduced roughly_reduced(Doubles x) {  // to 2⁻⁵³ of x
  Doubles n = fma(x, log2_e, rounder);
  return {n, fma(n - rounder, -ln2, x)};
}

// y·2ⁿ, y about 1. With T = float nothing comes near the ends of float64's exponents.
template <class T>
inline Doubles scaled(Doubles y, Doubles n) {
  if constexpr (is_float<T>) {
    return (Doubles)((Bits)y + ((Bits)n << 52));
  } else {  // in two steps: 2ⁿ itself may be too large or too small
    Bits whole = (Bits)n - (Bits)broadcast(rounder), half = whole >> 1;
    return y * (Doubles)((half << 52) + one_bits) * (Doubles)(((whole - half) << 52) + one_bits);
  }
}

// For x between the ends of float64's exponents or, with T = float, where scaled can do it.
template <class T>
inline Doubles exp_between(Doubles x) {
  auto [n, r] = reduced(x);
  return scaled<T>(fma(r, polynomial(r, exponential), broadcast(1.0)), n);
}

// The same for float32, to 2⁻⁴⁴ (2⁻⁴³ where |x| is near 700).
inline Doubles exp_roughly(Doubles x) {
  auto [n, r] = roughly_reduced(x);
  return scaled<float>(fma(r, polynomial(r, rough_exponential), broadcast(1.0)), n);
}

template <class T>
inline Doubles exp(Doubles x) {
  auto careful = [](Doubles x) { return exp_between<T>(x); };
  if constexpr (!is_float<T>) return careful(any_beyond(x, 700) ? at_most(at_least(x, -746), 710) : x);
  Doubles y = decided<T, rough_units>(exp_roughly(x), [&] { return careful(x); });
  if (any_beyond(x, 87)) y = magnitude(x) <= 87 ? y : careful(at_most(at_least(x, -700), 700));  // no normal numbers
  return y;
}

template <class T>
inline Doubles exp2(Doubles x) {
  if (any_beyond(x, 1000)) x = at_most(at_least(x, is_float<T> ? -1000 : -1080), is_float<T> ? 1000 : 1025);
  Doubles n = x + rounder, r = (x - (n - rounder)) * ln2, h = polynomial(r, exponential);
  Doubles y = decided<T>(fma(r, h, broadcast(1.0)), [&] { return odd_sum(broadcast(1.0), r * h); });
  return scaled<T>(y, n);
}

// eˣ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1), for −60 ≤ x ≤ 700; −0 becomes +0.
template <int n>
inline Doubles expm1_between(const Reduced& x, const double (&c)[n]) {
  Doubles power = (Doubles)(((Bits)x.n << 52) + one_bits);
  return fma(x.r * polynomial(x.r, c), power, power - 1);
}
inline Doubles expm1_between(Doubles x) { return expm1_between(reduced(x), exponential); }

template <class T>
inline Doubles expm1(Doubles x) {
  if (any_beyond(x, 60)) {
    Doubles y = with_sign(expm1_between(at_most(at_least(x, -60), 700)), x);
    return x > 700 ? exp<T>(x) : y;
  }
  return with_sign(expm1_between(x), x);
}

// tanh x = (e²ˣ − 1)/(e²ˣ + 1).
template <class T>
inline Doubles tanh(Doubles x) {
  Doubles bounded = any_beyond(x, 22) ? at_most(at_least(x, -22), 22) : x;
  auto careful = [&] {
    Doubles y = expm1_between(2 * bounded);
    return y / (y + 2);
  };
  if constexpr (!is_float<T>) return with_sign(careful(), x);
  Doubles y = expm1_between(roughly_reduced(2 * bounded), rough_exponential);
  return with_sign(decided<T, rough_units>(y / (y + 2), careful), x);
}

// σ(x) = eˣ/(1 + eˣ).
template <class T>
inline Doubles logistic(Doubles x) {
  Doubles z = exp_between<T>(x);
  return z / (1 + z);
}

// The same; near 0, ½ + x/4 − x³/48.
template <class T>
inline Doubles sigmoid(Doubles x) {
  if constexpr (!is_float<T>) return logistic<T>(any_beyond(x, 40) ? at_most(at_least(x, -746), 40) : x);
  Doubles z = exp_roughly(x), y = decided<T, rough_units>(z / (1 + z), [&] {
    return magnitude(x) < 0x1p-14 ? odd_sum(broadcast(0.5), x * fma(x * x, -1.0 / 48, 0.25)) : logistic<T>(x);
  });
  if (any_beyond(x, 40)) y = magnitude(x) <= 40 ? y : logistic<T>(at_most(at_least(x, -700), 40));
  return y;
}

// ------------------------------------------------------------------------------ logarithms
// 2·(artanh(s)/s − 1)/s² in s², |s| ≤ (√2 − 1)/(√2 + 1).
constexpr double logarithm[] = {0x1.5555555555594p-1, 0x1.999999997f72ep-2, 0x1.249249423c5aap-2, 0x1.c71c51d52a896p-3,
                                0x1.7466485abee29p-3, 0x1.39a0dec3b57d7p-3, 0x1.2f0d55470728ep-3};

// ln(1 + f) − f for 1 + f from √½ to √2, of  ln(1 + f) = 2 artanh s, s = f/(2 + f).
inline Doubles log1p_beyond(Doubles f) {
  Doubles s = f / (2 + f), z = s * s, half = 0.5 * f * f;
  return fma(s, fma(z, polynomial(z, logarithm), half), -half);
}

// x = 2ᵏ·m, m from √½ to √2, for normal positive x.
struct Split {
  Doubles k, m;
  Bits exponent;  // k·2⁵²
};

inline Split split(Doubles x) {
  Bits from_root = (Bits)x - 0x3fe6a09e667f3bcd + one_bits;  // √½
  Bits exponent = (from_root & (Index{0x7ff} << 52)) - one_bits;
  Doubles k = (Doubles)((Bits)((Vector<Size>)from_root >> 52) | (Bits)broadcast(0x1p52)) - (0x1p52 + 1023);
  return {k, (Doubles)((Bits)x - exponent), exponent};
}

// Whether a lane has no logarithm that split could lead to: it is 0, negative, infinite, no number or less than `least`.
inline bool any_odd(Doubles x, double least) {
  Index first = __builtin_bit_cast(Index, least), last = (Index{2047} << 52) - 1;  // as whole numbers; others wrap around
  return __builtin_expect(any_above((Bits)x - first + sign_bit, sign_bit + (last - first)), 0);
}

// y, the logarithm of x if x is positive and finite; else its limit.
inline Doubles log_or_limit(Doubles y, Doubles x) {
  y = x > 0 ? y : x == 0 ? broadcast(-infinity) : broadcast(__builtin_nan(""));
  return x == infinity ? x : y;
}

// f(k, m − 1), a logarithm of x = 2ᵏ·m.
template <class F>
inline Doubles log_of_parts(Doubles x, const F& f) {
  constexpr double least = 0x1p-1022;
  if (any_odd(x, least)) {
    Bits is_small = x < least;
    auto [k, m, _] = split(is_small ? x * 0x1p54 : x);
    return log_or_limit(f(is_small ? k - 54 : k, m - 1), x);
  }
  auto [k, m, _] = split(x);
  return f(k, m - 1);
}

// ln(2ᵏ·(1 + f)); k·ln2_high + f is exact for float32.
template <class T>
inline Doubles ln_of_parts(Doubles k, Doubles f) {
  Doubles rest = log1p_beyond(f);
  if constexpr (!is_float<T>) return fma(k, ln2_high, fma(k, ln2_rest, f + rest));
  Doubles a = fma(k, ln2_high, f), b = fma(k, ln2_rest, rest);
  return decided<T>(a + b, [&] { return odd_sum(a, b); });
}

template <class T>
inline Doubles log(Doubles x) {
  return log_of_parts(x, ln_of_parts<T>);
}

template <class T>
inline Doubles log2(Doubles x) {
  return log_of_parts(x, [](Doubles k, Doubles f) {
    Doubles y = f + log1p_beyond(f);
    return k + fma(y, log2_e, y * log2_e_rest);
  });
}

template <class T>
inline Doubles log10(Doubles x) {
  return log_of_parts(x, [](Doubles k, Doubles f) {
    Doubles y = f + log1p_beyond(f), b = fma(y, log10_e, fma(k, log10_2_rest, y * log10_e_rest));
    return decided<T>(fma(k, log10_2_high, b), [&] { return odd_sum(k * log10_2_high, b); });
  });
}

template <class T>
inline Doubles log1p(Doubles x) {
  Doubles sum = 1 + x, lost = x - (sum - 1);
  auto [k, m, exponent] = split(sum);
  Doubles f = (m - 1) + lost * (Doubles)(one_bits - exponent);
  if constexpr (!is_float<T>) f = x < 0x1p60 ? f : m - 1;  // 2⁻ᵏ may be too small
  Doubles y = ln_of_parts<T>(k, f);
  return with_sign(any_odd(sum, 0x1p-60) ? log_or_limit(y, sum) : y, x);
}

// ------------------------------------------------------------------------------ the error function
// erf(x)/x in x², |x| ≤ ¾.
constexpr double centre[] = {0x1.20dd750429b6dp+0,   -0x1.812746b0379bfp-2, 0x1.ce2f21a0410fcp-4,  -0x1.b82ce31200e7ap-6,
                             0x1.565bccf66b10ep-8,   -0x1.c02daec8f6f3cp-11, 0x1.f9a26b6b74099p-14, -0x1.f4c0fa69aae23p-17,
                             0x1.b8d7b76c3c67cp-20,  -0x1.54f4278be617bp-23, 0x1.82dbdedfc7f52p-27};

// e^(a²)·erfc(a)·(a + 3¾) in t = (a − 3¾)/(a + 3¾), 0 ≤ a ≤ 28 (Shepherd and Laframboise's mapping).
constexpr double tail[] = {
    0x1.178842825349dp+0,  -0x1.eae02d0a1456bp-1, 0x1.78fecb4e81a8dp-1,  -0x1.f63dd81196143p-2, 0x1.1dc27118a0687p-2,
    -0x1.0e3ea224bdbdep-3, 0x1.92618b77c82e6p-5,  -0x1.9ac69566a6f71p-7, 0x1.02900837c1cb4p-10, 0x1.a0b759f0ca37fp-11,
    -0x1.6d9544850ded6p-12, 0x1.63791483f4606p-17, 0x1.3a58861f7a99dp-15, -0x1.2ac110fe16886p-17, -0x1.b9e74438939edp-19,
    0x1.bc3c75abd64b4p-20, 0x1.31a22253912eep-22, -0x1.18e10f2fb7789p-22, -0x1.10995fcfc7db8p-25, 0x1.4515528eb0b70p-25,
    0x1.9ac21a84bba5ap-28, -0x1.02e3c87b2674fp-28, -0x1.1046d997deb84p-30};

// The same where it is needed less exactly: for erf of float32, times e^(−a²), ¾ ≤ a ≤ 4.
constexpr double outer_tail[] = {0x1.178842820fc5fp+0,  -0x1.eae02d21ff8f2p-1,  0x1.78fec98327700p-1,
                                 -0x1.f63dff75de919p-2, 0x1.1dc15a1012fb7p-2,   -0x1.0e493d2d0eff5p-3,
                                 0x1.91cefa4575765p-5,  -0x1.a07ad282f36b9p-7,  0x1.614a7f32d6897p-11,
                                 0x1.a0e4a111ddfcap-12, -0x1.69f6c703af710p-11, -0x1.5f50fa323460bp-13};

// e^(a²)·erfc(a), by one of these.
template <int n>
inline Doubles scaled_erfc(Doubles a, const double (&c)[n]) {
  Doubles w = 1 / (a + 3.75);
  return w * polynomial(fma(w, -7.5, 1.0), c);
}
inline Doubles scaled_erfc(Doubles a) { return scaled_erfc(a, tail); }

// e^(−a²): what a² loses by rounding comes back as a factor. The square of a float32 loses nothing.
template <class T>
inline Doubles bell(Doubles a) {
  Doubles square = a * a;
  if constexpr (is_float<T>) return exp_between<T>(-square);
  Doubles y = exp<T>(-square);
  return fma(y, -fma(a, a, -square), y);
}

template <class T>
inline Doubles erf(Doubles x) {
  Doubles a = at_most(magnitude(x), is_float<T> ? 4 : 6), far;  // where it is 1
  if constexpr (is_float<T>)
    far = bell<T>(a) * scaled_erfc(a, outer_tail);
  else
    far = bell<T>(a) * scaled_erfc(a);
  return a < 0.75 ? x * polynomial(x * x, centre) : with_sign(1 - far, x);
}

template <class T>
inline Doubles erfc(Doubles x) {
  Doubles a = at_most(magnitude(x), is_float<T> ? 11 : 28);  // where it is 0
  Doubles outer = bell<T>(a) * scaled_erfc(a), inner = -x * polynomial(x * x, centre);
  Doubles y = a < 0.75 ? 1 + inner : x < 0 ? 2 - outer : outer;
  return decided<T>(y, [&] { return a < 0.75 ? odd_sum(broadcast(1.0), inner) : y; });
}

}  // namespace kinone::KINONE_ISA

// Powers, 1/√x and the inverse of the error function.
#include "native.hpp"

#include "driver.hpp"
#include "pairs.hpp"

namespace kinone::KINONE_ISA {
namespace {

// ln a as a pair; what a float32 needs: s = (m − 1)/(m + 1) is a pair, what follows it is not.
template <class T>
Pair log_of(Doubles a) {
  if constexpr (is_float<T>) {
    auto [k, m, _] = split(a);
    Pair s = quotient({m - 1, Doubles{}}, {m + 1, Doubles{}});
    Doubles z = s.high * s.high;
    Pair y = sum(k * ln2_exact, 2 * s.high);
    return {y.high, y.low + fma(s.high * z, polynomial(z, logarithm), fma(k, ln2_left, 2 * s.low))};
  } else {
    Bits is_small = a < 0x1p-1022;
    return log({is_small ? a * 0x1p54 : a, Doubles{}}, is_small ? broadcast(-54.0) : Doubles{});
  }
}

Bits is_whole(Doubles size) { return (size >= 0x1p52) | ((size + 0x1p52) - 0x1p52 == size); }

// C's rules: what is neither an ordinary number to an ordinary power nor follows from limits of e^(b·ln a).
[[gnu::noinline]] Doubles ruled(Doubles a, Doubles b, Doubles y) {
  Doubles size = magnitude(a), times = magnitude(b), one = broadcast(1.0);
  Bits is_odd = is_whole(times) & ~is_whole(0.5 * times);
  Bits is_less = (size < 1) != (b < 0);
  Bits is_limit = (size == 0) | (size == infinity) | (times == infinity);
  y = is_limit ? (is_less ? Doubles{} : broadcast(infinity)) : y;
  y = size == 1 ? one : y;
  y = (Doubles)((Bits)y | ((Bits)a & is_odd & sign_bit));
  Bits is_nothing = (a < 0) & (size < infinity) & ~is_whole(times);
  y = is_nothing ? broadcast(__builtin_nan("")) : y;
  y = a != a ? a : b != b ? b : y;
  Bits is_one = (b == 0) | (a == 1);
  return is_one ? one : y;
}

// aᵇ = e^(b·ln |a|), ± by the parity of b.
template <class T>
Doubles power(Doubles a, Doubles b) {
  constexpr double most = is_float<T> ? 160 : 800;  // of the exponent of e: what is 0 or ∞ beyond
  Doubles size = magnitude(a);
  Pair l = log_of<T>(size), x = product(b, l.high);
  Bits is_far = magnitude(x.high) > most;
  x = {is_far ? with_sign(broadcast(most), x.high) : x.high, is_far ? Doubles{} : fma(b, l.low, x.low)};
  Doubles n;
  Pair e = exp(x, n);
  Doubles y = scaled<T>(e.high + e.low, n);
  Bits is_special = ~((a > 0) & (a < infinity) & (magnitude(b) < infinity));
  return any(is_special) ? ruled(a, b, y) : y;
}

// 1/√x. For float32 from y, that in float32, which is quicker: with e = 1 − x·y² it is y·(1 + e/2 + 3e²/8 + …).
template <class T>
Doubles rsqrt(Doubles x) {
  if constexpr (is_float<T>) {
    Floats rough = 1 / sqrt(__builtin_convertvector(x, Floats));
    Doubles y = __builtin_convertvector(rough, Doubles), e = fma(-x * y, y, broadcast(1.0));
    Bits is_ordinary = (x > 0) & (x < infinity);
    return is_ordinary ? fma(y * e, fma(e, 0.375, 0.5), y) : y;
  }
  return 1 / sqrt(x);
}

// y/|x| in w = −ln(1 − x²), and y/|x|√w in 1/√w from 5 on, y = erf⁻¹ |x|: both to 2⁻¹⁵.
constexpr double near[] = {0.886245893, 0.231688824, 0.0124039969, -0.00312636989, 0.000185268482};
constexpr double far[] = {1.00310713, -0.0788731759, -0.809793503, 2.64705091, -4.66838635, 4.14949298};

// Then Taylor's series of erf⁻¹ at erf y: with d = (|x| − erf y)·e^(y²)·√π/2 it is
// y + d + y·d² + (4y² + 1)/3·d³ + (12y² + 7)·y/6·d⁴ + …
template <class T>
Doubles erfinv(Doubles x) {
  Doubles size = magnitude(x), one = broadcast(1.0);
  Doubles w = -log<T>(fma(-size, size, one)), root = sqrt(w);
  Doubles y = size * (w < 5 ? polynomial(w, near) : root * polynomial(1 / root, far));
  Doubles square = y * y, e = exp<double>(square);
  e = fma(e, fma(y, y, -square), e);
  Doubles lack = y < 0.75 ? fma(-y, polynomial(square, centre), size) * e : scaled_erfc(y) - (1 - size) * e;
  Doubles d = 0x1.c5bf891b4ef6ap-1 * lack;
  Doubles series = fma(d, fma(d, y * fma(square, 2, 7 / 6.), fma(square, 4 / 3., 1 / 3.)), y);
  y = y + fma(d * d, series, d);
  y = size < 1 ? y : size == 1 ? broadcast(infinity) : broadcast(__builtin_nan(""));
  return with_sign(y, x);
}

const Kernel table[] = {
    kernel("rsqrt", []<class T>(T, Doubles x) { return rsqrt<T>(x); }, "x"),
    kernel("erfinv", []<class T>(T, Doubles x) { return erfinv<T>(x); }, "x"),
};

const Kernel of_power[] = {
    kernel("power", []<class T>(T, Doubles a, Doubles b) { return power<T>(a, b); }, "a", "b"),
    kernel("power", []<class T>(T, Doubles a) { return a * a; }, "a"),
};

}  // namespace

Kernels inverses() { return {table, sizeof(table) / sizeof(*table)}; }
Kernels powers() { return {of_power, sizeof(of_power) / sizeof(*of_power)}; }

}  // namespace kinone::KINONE_ISA

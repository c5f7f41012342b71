// Activations: each computed wholly in float64 from its operands and rounded once. So in float32 what stands between
// two operations below is exact or nearly so; the results are seldom, though not never, other than correctly rounded.
#include "driver.hpp"

namespace kinone::KINONE_ISA {
namespace {

// (artanh(s)/s − 1)/s² in s², |s| ≤ ⅓.
constexpr double near_artanh[] = {0x1.5555555555954p-2, 0x1.99999998e8c8dp-3, 0x1.2492497920570p-3,
                                  0x1.c71c4a1f3c688p-4, 0x1.7462571189401p-4, 0x1.3aa8c551616abp-4,
                                  0x1.164295e7c8b86p-4, 0x1.95824e8df75fcp-5, 0x1.6b69f46d62f7fp-4};

// ln(1 + e⁻ᵃ), a ≥ 0:  2 artanh s, s = e⁻ᵃ/(2 + e⁻ᵃ).
template <class T>
Doubles log1p_exp(Doubles a) {
  Doubles u = exp<T>(-a), s = u / (2 + u), z = s * s;
  return 2 * fma(s, z * polynomial(z, near_artanh), s);
}

template <class T>
Doubles softplus(Doubles x, Doubles beta) {
  return at_least(x, 0) + log1p_exp<T>(magnitude(beta * x)) / beta;
}

// Beyond ±10⁴ a gate has long been 0 or 1, and its slope 0: but not 0 · ∞.
constexpr double far = 1e4;
inline Doubles near(Doubles x) { return at_most(at_least(x, -far), far); }

template <class T>
Doubles silu(Doubles x) {
  x = at_least(x, -far);
  return x * logistic<T>(x);
}

template <class T>
Doubles silu_slope(Doubles x) {
  x = near(x);
  Doubles y = logistic<T>(x);
  return y * fma(x, 1 - y, broadcast(1.0));
}

// x·tanh(ln(1 + eˣ)) = x·w/(w + 2), w = (1 + eˣ)² − 1.
template <class T>
Doubles mish(Doubles x) {
  x = at_least(x, -far);
  Doubles z = exp<T>(at_most(x, 40)), w = z * (z + 2);
  return x * (w / (w + 2));
}

// t + x·σ(x)·(1 − t²), t = w/(w + 2):  σ = z/(1 + z) and 1 − t² = 4·(1 + z)²/(w + 2)².
template <class T>
Doubles mish_slope(Doubles x) {
  x = near(x);
  Doubles z = exp<T>(at_most(x, 40)), w = z * (z + 2), d = 1 / (w + 2);
  return fma(x, 4 * z * (1 + z) * d * d, w * d);
}

// Φ(x), the normal distribution's, of e^(−x²/2).
inline Doubles normal(Doubles x, Doubles bell) {
  Doubles beyond = 0.5 * bell * scaled_erfc(at_most(magnitude(x) * 0x1.6a09e667f3bcdp-1, 28));
  return x < 0 ? beyond : 1 - beyond;
}

// e^(−x²/2)
template <class T>
Doubles half_bell(Doubles x) {
  Doubles square = x * x, y = exp<T>(-0.5 * square);
  if constexpr (is_float<T>) return y;
  return fma(y, -0.5 * fma(x, x, -square), y);
}

template <class T>
Doubles gelu(Doubles x) {
  x = at_least(x, -far);
  return x * normal(x, half_bell<T>(x));
}

template <class T>
Doubles gelu_slope(Doubles x) {
  x = near(x);
  Doubles bell = half_bell<T>(x);
  return fma(x * 0x1.9884533d43651p-2, bell, normal(x, bell));  // 1/√(2π)
}

// ½(1 + tanh u) = σ(2u),  2u = 2·√(2/π)·(x + 0.044715·x³).
constexpr double linear = 0x1.9884533d43651p+0, cubic = 0x1.2444f2a4d8b4bp-4;

template <class T>
Doubles gelu_by_tanh(Doubles x) {
  x = at_least(x, -far);
  return x * logistic<T>(x * fma(x * x, cubic, linear));
}

template <class T>
Doubles gelu_by_tanh_slope(Doubles x) {
  x = near(x);
  Doubles square = x * x, y = logistic<T>(x * fma(square, cubic, linear));
  return y * fma(x * (1 - y), fma(square, 3 * cubic, linear), broadcast(1.0));
}

template <class T>
Doubles logaddexp(Doubles a, Doubles b) {
  Doubles y = (a > b ? a : b) + log1p_exp<T>(magnitude(a - b));
  return a == b ? a + ln2 : y;  // infinities too
}

const Kernel activations_table[] = {
    kernel("relu", in_own_type([](auto x) { return x <= 0 ? decltype(x){} : x; }), "x"),
    kernel("relu_backward", in_own_type([](auto g, auto y) { return y > 0 ? g : decltype(g){}; }), "g", "y"),
    kernel("tanh_backward", [](auto, Doubles g, Doubles y) { return g * fma(-y, y, broadcast(1.0)); }, "g", "y"),
    kernel("sigmoid_backward", [](auto, Doubles g, Doubles y) { return g * (y * (1 - y)); }, "g", "y"),
    kernel("log_sigmoid", []<class T>(T, Doubles x) { return at_most(x, 0) - log1p_exp<T>(magnitude(x)); }, "x"),
    kernel("silu_forward", []<class T>(T, Doubles x) { return silu<T>(x); }, "x"),
    kernel("silu_backward", []<class T>(T, Doubles g, Doubles x) { return g * silu_slope<T>(x); }, "g", "x"),
    kernel("mish", []<class T>(T, Doubles x) { return mish<T>(x); }, "x"),
    kernel("mish_backward", []<class T>(T, Doubles g, Doubles x) { return g * mish_slope<T>(x); }, "g", "x"),
    kernel("logaddexp", []<class T>(T, Doubles a, Doubles b) { return logaddexp<T>(a, b); }, "a", "b"),
};

const Kernel with_parameters_table[] = {
    kernel("softplus", []<class T>(T, Doubles x, Doubles beta) { return softplus<T>(x, beta); }, "x", "beta"),
    kernel("softplus_backward",
           []<class T>(T, Doubles g, Doubles x, Doubles beta) { return g * logistic<T>(beta * x); }, "g", "x", "beta"),
    kernel("gelu_forward", []<class T>(T, Doubles x) { return gelu<T>(x); }, "x"),
    kernel("gelu_forward", []<class T>(T, Doubles x) { return gelu_by_tanh<T>(x); }, "x"),
    kernel("gelu_backward", []<class T>(T, Doubles g, Doubles x) { return g * gelu_slope<T>(x); }, "g", "x"),
    kernel("gelu_backward", []<class T>(T, Doubles g, Doubles x) { return g * gelu_by_tanh_slope<T>(x); }, "g", "x"),
};

}  // namespace

Kernels activations() { return {activations_table, sizeof(activations_table) / sizeof(Kernel)}; }
Kernels with_parameters() { return {with_parameters_table, sizeof(with_parameters_table) / sizeof(Kernel)}; }

}  // namespace kinone::KINONE_ISA

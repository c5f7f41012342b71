// Activations: each computed wholly in float64 from its operands and rounded once. For float32 every term has 38 bits or
// more, not all that float64 could have. So the results are seldom, though not never, other than correctly rounded; of
// slopes that holds except near their zeros.
#include "driver.hpp"

namespace kinone::KINONE_ISA {
namespace {

// (artanh(s)/s − 1)/s² in s², |s| ≤ ⅓.
constexpr double near_artanh[] = {0x1.5555555555954p-2, 0x1.99999998e8c8dp-3, 0x1.2492497920570p-3,
                                  0x1.c71c4a1f3c688p-4, 0x1.7462571189401p-4, 0x1.3aa8c551616abp-4,
                                  0x1.164295e7c8b86p-4, 0x1.95824e8df75fcp-5, 0x1.6b69f46d62f7fp-4};

// ln(1 + e⁻ᵃ), a ≥ 0:  2 artanh s, s = e⁻ᵃ/(2 + e⁻ᵃ).
// The same to 2⁻³⁸ of artanh(s)/s.
constexpr double rough_artanh[] = {0x1.5555553b4ad03p-2, 0x1.9999bccacb12ep-3, 0x1.248a65aafe8a0p-3,
                                   0x1.c8b9e2c567e80p-4, 0x1.5f4236a3b737fp-4, 0x1.be17abd216ebap-4};

// eˣ. What is needed beyond ±700 is only that it is almost nothing, or almost everything.
template <class T>
Doubles power_of_e(Doubles x) {
  if constexpr (!is_float<T>) return exp<T>(x);
  if (any_beyond(x, 700)) x = at_most(at_least(x, -700), 700);
  return exp_roughly(x);
}

template <class T>
Doubles log1p_exp(Doubles a) {
  Doubles u = power_of_e<T>(-a), s = u / (2 + u), z = s * s;
  if constexpr (is_float<T>) return 2 * fma(s, z * polynomial(z, rough_artanh), s);
  return 2 * fma(s, z * polynomial(z, near_artanh), s);
}

// σ(x)
template <class T>
Doubles gate(Doubles x) {
  Doubles z = power_of_e<T>(any_beyond(x, 40) ? at_most(x, 40) : x);
  return z / (1 + z);
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
  return x * gate<T>(x);
}

template <class T>
Doubles silu_slope(Doubles x) {
  x = near(x);
  Doubles y = gate<T>(x);
  return y * fma(x, 1 - y, broadcast(1.0));
}

// x·tanh(ln(1 + eˣ)) = x·w/(w + 2), w = (1 + eˣ)² − 1.
template <class T>
Doubles mish(Doubles x) {
  x = at_least(x, -far);
  Doubles z = power_of_e<T>(at_most(x, 40)), w = z * (z + 2);
  return x * (w / (w + 2));
}

// t + x·σ(x)·(1 − t²), t = w/(w + 2):  σ = z/(1 + z) and 1 − t² = 4·(1 + z)²/(w + 2)².
template <class T>
Doubles mish_slope(Doubles x) {
  x = near(x);
  Doubles z = power_of_e<T>(at_most(x, 40)), w = z * (z + 2), d = 1 / (w + 2);
  return fma(x, 4 * z * (1 + z) * d * d, w * d);
}

// e^(a²/2)·(1 − Φ(a)) for float32: to 2⁻³⁹ for 0 ≤ a ≤ 14.7, above divided by below.
constexpr double above[] = {0x1.1b8f37cc7c674p+10, 0x1.4425a83299571p+10, 0x1.6c222d164dc0fp+9, 0x1.ec610574d8657p+7,
                            0x1.a24da20308360p+5,  0x1.a855272ffebbdp+2,  0x1.988456e4df809p-2};
constexpr double below[] = {0x1.1b8f37cc7b081p+11, 0x1.133288d81e507p+12, 0x1.df70443a052f5p+11, 0x1.e89adffab5c99p+10,
                            0x1.3cddf9e58f2e3p+9,  0x1.0821c2463108bp+7,  0x1.09e945a74f2adp+4,  1};

// e^(−x²/2) and Φ(x), the normal distribution's.
struct Normal {
  Doubles bell, up_to;
};

template <class T>
Normal normal(Doubles x) {
  Doubles beyond, bell;
  if constexpr (is_float<T>) {
    if (any_beyond(x, 37)) x = at_most(at_least(x, -37), 37);  // where both are 0, or 1
    Doubles a = magnitude(x);
    bell = exp_roughly(x * (-0.5 * x));
    beyond = bell * polynomial(a, above) / polynomial(a, below);
  } else {
    Doubles square = x * x, y = exp<T>(-0.5 * square);
    bell = fma(y, -0.5 * fma(x, x, -square), y);
    beyond = 0.5 * bell * scaled_erfc(at_most(magnitude(x) * 0x1.6a09e667f3bcdp-1, 28));
  }
  return {bell, x < 0 ? beyond : 1 - beyond};
}

template <class T>
Doubles gelu(Doubles x) {
  x = at_least(x, -far);
  return x * normal<T>(x).up_to;
}

template <class T>
Doubles gelu_slope(Doubles x) {
  x = near(x);
  auto [bell, up_to] = normal<T>(x);
  return fma(x * 0x1.9884533d43651p-2, bell, up_to);  // 1/√(2π)
}

// ½(1 + tanh u) = σ(2u),  2u = 2·√(2/π)·(x + 0.044715·x³).
constexpr double linear = 0x1.9884533d43651p+0, cubic = 0x1.2444f2a4d8b4bp-4;

template <class T>
Doubles gelu_by_tanh(Doubles x) {
  x = at_least(x, -far);
  return x * gate<T>(x * fma(x * x, cubic, linear));
}

template <class T>
Doubles gelu_by_tanh_slope(Doubles x) {
  x = near(x);
  Doubles square = x * x, y = gate<T>(x * fma(square, cubic, linear));
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
           []<class T>(T, Doubles g, Doubles x, Doubles beta) { return g * gate<T>(beta * x); }, "g", "x", "beta"),
    kernel("gelu_forward", []<class T>(T, Doubles x) { return gelu<T>(x); }, "x"),
    kernel("gelu_forward", []<class T>(T, Doubles x) { return gelu_by_tanh<T>(x); }, "x"),
    kernel("gelu_backward", []<class T>(T, Doubles g, Doubles x) { return g * gelu_slope<T>(x); }, "g", "x"),
    kernel("gelu_backward", []<class T>(T, Doubles g, Doubles x) { return g * gelu_by_tanh_slope<T>(x); }, "g", "x"),
};

}  // namespace

Kernels activations() { return {activations_table, sizeof(activations_table) / sizeof(Kernel)}; }
Kernels with_parameters() { return {with_parameters_table, sizeof(with_parameters_table) / sizeof(Kernel)}; }

}  // namespace kinone::KINONE_ISA

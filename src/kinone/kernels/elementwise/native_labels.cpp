// The cross-entropy of a logit x with a label t, in float64 and rounded once (profile kn1): w is the weight of a
// positive label, u = exp(−|x|) and s = 1/(1 + u), so that nothing overflows and σ(|x|) = s, σ(−|x|) = u·s.
//
//   sigmoid_nll   y = (w·t)·(max(−x, 0) + log1p u) + (1 − t)·(max(x, 0) + log1p u)
//                 ∂L/∂x = g·((1 − t)·σ(x) − (w·t)·σ(−x))
#include "native.hpp"

#include "driver.hpp"

namespace kinone::KINONE_ISA {
namespace {

const Kernel table[] = {
    kernel("sigmoid_nll_forward", [](auto, Doubles x, Doubles t, Doubles w) {
      Doubles rest = log1p<double>(exp<double>(-magnitude(x)));
      return (w * t) * (at_least(-x, 0) + rest) + (1 - t) * (at_least(x, 0) + rest);
    }, "x", "target", "weight"),
    kernel("sigmoid_nll_backward", [](auto, Doubles g, Doubles x, Doubles t, Doubles w) {
      Doubles u = exp<double>(-magnitude(x)), s = 1 / (1 + u);
      Doubles up = x < 0 ? u * s : s, down = x < 0 ? s : u * s;
      return g * ((1 - t) * up - (w * t) * down);
    }, "g", "x", "target", "weight"),
};

}  // namespace

Kernels cross_entropies() { return {table, sizeof(table) / sizeof(*table)}; }

}  // namespace kinone::KINONE_ISA

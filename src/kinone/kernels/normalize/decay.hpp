// The exponential of softmax, and silu and its slope, which are made of it where a norm computes them in passing. All in
// the type of their numbers, with which V is filled.
#pragma once

#include <initializer_list>

#include "../elementwise/functions.hpp"

namespace kinone::KINONE_ISA {
namespace {

// eˣ for x ≤ 0: 2ᵏ·eʳ, k whole and |r| ≤ ½ ln 2. In float32 it is within 0.9 units in the last place, for a quarter of
// what the correctly rounded function takes, and 0 where x < −87.
template <class V>
inline V decay(V x) {
  if constexpr (sizeof(x[0]) == sizeof(double)) {
    return exp<double>(x);
  } else {
    using Whole = Vector<int, sizeof(V) / sizeof(int)>;
    auto all = [](float c) { return c - V{}; };
    const V rounder = all(0x1.8p23f + 127);  // rounds to a whole number, and makes the bits of 2ᵏ of it
    V rounded = fma(x, all(0x1.715476p0f), rounder), k = rounded - rounder;
    V r = fma(k, all(-0x1.7f7d1cp-20f), fma(k, all(-0x1.62e4p-1f), x)), y = all(0x1.6a592ap-10f);
    for (float c : {0x1.123bdep-7f, 0x1.5558a6p-5f, 0x1.55548ep-3f, 0x1.fffffcp-2f, 1.0f, 1.0f}) y = fma(y, r, all(c));
    y *= (V)((Whole)rounded << 23);
    return (V)((Whole)y & ~(Whole)(x < -87.0f));
  }
}

// What σ(x) and 1 − σ(x) are made of: 1/(1 + e) and e/(1 + e), e = exp(−|x|), the first being that of the larger one.
template <class V>
struct Gate {
  V large, small;
  explicit Gate(V x) {
    V e = decay(x < 0 ? x : -x);
    large = 1 / (1 + e), small = e * large;
  }
};

// x·σ(x). Beyond ±10⁴ the gate has long been 0 or 1: but not 0 · ∞.
template <class V>
inline V silu(V x) {
  x = x < -10000 ? V{} - 10000 : x;
  Gate<V> gate(x);
  return x * (x < 0 ? gate.small : gate.large);
}

// σ(x)·(1 + x·(1 − σ(x)))
template <class V>
inline V silu_slope(V x) {
  x = x < -10000 ? V{} - 10000 : x > 10000 ? V{} + 10000 : x;
  Gate<V> gate(x);
  return (x < 0 ? gate.small : gate.large) * fma(x, x < 0 ? gate.large : gate.small, 1 - V{});
}

}  // namespace
}  // namespace kinone::KINONE_ISA

// Elements of a draw from any of them on, and the masks that dropout makes of them.
#pragma once

#include "philox.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr int drawn_at_once = 2 * lanes<double>;  // elements that a vector of counters gives

// y[i] for i in [first, last); f(pair, to) puts a group of them side by side.
template <class T, class F>
void fill(const Draw& d, T* y, Index first, Index last, const F& f) {
  Index skipped = (d.start + first) & 1;
  Size counter = (d.start + first) / 2;
  for (Index i = first - skipped; i < last; i += drawn_at_once, counter += lanes<double>) {
    Pair words = philox(d, counter);
    if (i >= first && i + drawn_at_once <= last) {
      f(words, y + i);
      continue;
    }
    T all[drawn_at_once];
    f(words, all);
    for (Index j = 0; j < drawn_at_once; j++)
      if (i + j >= first && i + j < last) y[i + j] = all[j];
  }
}

// even[0], odd[0], even[1], odd[1], … rounded to T
template <class T, class V, int... i>
inline void interleave(T* to, V even, V odd, Indices<i...>) {
  constexpr int n = sizeof...(i);
  V low = __builtin_shufflevector(even, odd, (i / 2 + i % 2 * n)...);
  V high = __builtin_shufflevector(even, odd, (n / 2 + i / 2 + i % 2 * n)...);
  store(to, __builtin_convertvector(low, Vector<T, n>));
  store(to + n, __builtin_convertvector(high, Vector<T, n>));
}

// u < p exactly if ⌊w/2¹²⌋ < this: those k with k + ½ < p·2⁵².
Index limit(double p) {
  double scaled = p * 0x1p52;
  Index whole = scaled;
  return whole + (scaled - whole > 0.5);
}

// All bits of an element's number set if its word is below the limit.
inline void put_mask(const Pair& words, Index limit, Index* to) {
  auto is_below = [&](Words w) { return reinterpret_cast<Vector<Index>>(w >> 12) < limit; };
  interleave(to, is_below(words.even), is_below(words.odd), typename Counted<lanes<double>>::type{});
}

inline void put_mask(const Pair& words, Index limit, int* to) {
  auto is_below = [&](Words w) { return reinterpret_cast<Words>(reinterpret_cast<Vector<Index>>(w >> 12) < limit); };
  Words both = (is_below(words.even) & 0xFFFFFFFF) | (is_below(words.odd) & 0xFFFFFFFF00000000);
  store(to, reinterpret_cast<Vector<int>>(both));
}

}  // namespace
}  // namespace kinone::KINONE_ISA

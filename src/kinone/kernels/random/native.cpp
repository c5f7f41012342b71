// Element i of a draw at `step` is made of the word at (step, start + i), by the operations of reference.py in their
// order and nothing else: these bits are the profile's, whoever computes them.
//
//   for shares of the elements, each to a thread:  for counters by a vector's width, each for two elements:
//     words = philox(counter, key);  y = f(words), the two elements of a counter side by side
//
// A draw may begin at the second element of a counter, and end where it likes: `fill` cuts the first and last vectors.
#include "masks.hpp"

#include "../native/pool.hpp"
#include "../native/layout.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index share = 1 << 14;

// part(first, last) for shares of the elements.
template <class F>
void in_shares(Index count, const F& part) {
  if (count <= share) return part(0, count);
  parallel((count + share - 1) / share, 0, [&](Index task, char*) {
    Index last = (task + 1) * share;
    part(task * share, last < count ? last : count);
  });
}

template <class T, class F>
void draw(const Draw& d, T* y, const F& f) {
  in_shares(d.count, [&](Index first, Index last) {
    fill(d, y, first, last, [&](const Pair& words, T* to) {
      interleave(to, f(words.even), f(words.odd), typename Counted<lanes<double>>::type{});
    });
  });
}

inline void put_mask(const Pair& words, Index limit, bool* to) {
  int mask[drawn_at_once];
  put_mask(words, limit, mask);
  auto bytes = __builtin_convertvector(load<Vector<int>>(mask), Vector<signed char, drawn_at_once>);
  store(reinterpret_cast<signed char*>(to), bytes & 1);
}

// y = x / divisor under the mask, +0 elsewhere; n of them, a multiple of a vector.
template <class T, class Mask>
inline void apply(const Mask* mask, const T* x, T divisor, T* y, int n) {
  for (int i = 0; i < n; i += lanes<T>) {
    auto v = one_nan(load<Vector<T>>(x + i) / divisor);
    store(y + i, reinterpret_cast<Vector<T>>(reinterpret_cast<Vector<Mask>>(v) & load<Vector<Mask>>(mask + i)));
  }
}

template <class Mask, class T>
void drop(const Draw& d, double p, const Dropout<T>& m) {
  Index limit = KINONE_ISA::limit(1 - p);
  T divisor = 1 - p;
  if (m.column == 1) {  // and the rest without gaps
    in_shares(d.count, [&](Index first, Index last) {
      Mask mask[drawn_at_once];
      for (Index i = first; i < last; i += drawn_at_once) {
        put_mask(philox(d, i / 2), limit, mask);
        if (i + drawn_at_once <= last) {
          apply(mask, m.x + i, divisor, m.y + i, drawn_at_once);
          continue;
        }
        for (Index j = i; j < last; j++) m.y[j] = mask[j - i] ? one_nan(m.x[j] / divisor) : 0;
      }
    });
    return;
  }
  // Rows side by side: the masks of as many as a vector holds, then turned.
  constexpr Index some = lanes<T>;
  Index parts = (m.rows + some - 1) / some;
  parallel(m.outer * parts, 2 * some * m.columns * sizeof(T), [&](Index task, char* scratch) {
    Mask *drawn = reinterpret_cast<Mask*>(scratch), *mask = drawn + some * m.columns;
    Index outer = task / parts, begin = task % parts * some, count = m.rows - begin < some ? m.rows - begin : some;
    Draw here{{d.key[0], d.key[1]}, d.step, static_cast<Size>((outer * m.rows + begin) * m.columns), 0};
    fill(here, drawn, 0, count * m.columns, [&](const Pair& words, Mask* to) { put_mask(words, limit, to); });
    transposed(mask, 0, some, m.columns, drawn, m.columns, count, m.columns);
    Index at = outer * m.outer_step + begin;
    for (Index j = 0; j < m.columns; j++, at += m.column, mask += some) {
      if (count == some) {
        apply(mask, m.x + at, divisor, m.y + at, some);
      } else {
        for (Index i = 0; i < count; i++) m.y[at + i] = mask[i] ? one_nan(m.x[at + i] / divisor) : 0;
      }
    }
  });
}

template <class T>
void fill_uniform(const Draw& d, int bits, double low, double high, T* y) {
  draw(d, y, [&](Words w) { return low + (high - low) * open_unit(w, bits); });
}

// The tails, a seventh of the elements, are put together first: else nearly every vector would hold some.
template <class T>
void fill_normal(const Draw& d, double mean, double std, T* y) {
  constexpr int some = 512, n = lanes<double>;
  in_shares(d.count, [&](Index begin, Index end) {
    double u[some], z[some], tails[some + n];
    int places[some + 1];
    for (Index first = begin; first < end; first += some) {
      Draw here{{d.key[0], d.key[1]}, d.step, d.start + first, 0};
      int now = end - first < some ? end - first : some, count = 0;
      fill(here, u, 0, now, [](const Pair& words, double* to) {
        interleave(to, open_unit(words.even, 52), open_unit(words.odd, 52), typename Counted<lanes<double>>::type{});
      });
      for (int i = now; i % n; i++) u[i] = 0.5;
      for (int i = 0; i < now; i += n) store(z + i, central_quantile(load<Reals>(u + i)));
      for (int i = 0; i < now; i++) {
        places[count] = i;
        tails[count] = u[i];
        count += (u[i] - 0.5 > 0.425) | (u[i] - 0.5 < -0.425);
      }
      for (int i = 0; i < n; i++) tails[count + i] = 0.01;
      for (int i = 0; i < count; i += n) store(tails + i, tail_quantile(load<Reals>(tails + i)));
      for (int i = 0; i < count; i++) z[places[i]] = tails[i];
      for (int i = 0; i < now; i++) y[first + i] = mean + std * z[i];
    }
  });
}

}  // namespace

void uniform(const Draw& d, int bits, double low, double high, float* y) { fill_uniform(d, bits, low, high, y); }
void uniform(const Draw& d, int bits, double low, double high, double* y) { fill_uniform(d, bits, low, high, y); }
void normal(const Draw& d, double mean, double std, float* y) { fill_normal(d, mean, std, y); }
void normal(const Draw& d, double mean, double std, double* y) { fill_normal(d, mean, std, y); }

void bernoulli(const Draw& d, double p, bool* y) {
  Index limit = KINONE_ISA::limit(p);
  in_shares(d.count, [&](Index first, Index last) {
    fill(d, y, first, last, [&](const Pair& words, bool* to) { put_mask(words, limit, to); });
  });
}

// low + ⌊w·span/2⁶⁴⌋, span ≤ 2³²
void integers(const Draw& d, Index low, Size span, Index* y) {
  draw(d, y, [&](Words w) {
    Words carry = ((w & 0xFFFFFFFF) * span) >> 32;
    return reinterpret_cast<Vector<Index>>((((w >> 32) * span + carry) >> 32) + static_cast<Size>(low));
  });
}

void dropout(const Draw& d, double p, const Dropout<float>& m) { drop<int>(d, p, m); }
void dropout(const Draw& d, double p, const Dropout<double>& m) { drop<Index>(d, p, m); }

}  // namespace kinone::KINONE_ISA

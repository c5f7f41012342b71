// Convolutions with a group for each channel: vectors run along the channels, and each is a chain over the taps.
//
//   y[pixel, c] = Σ over the taps t in order, in chunks of 384, of source[place(pixel, t), c]·w[position(t), c]
//
//   for blocks of rows of y                         (each thread its own)
//     for up to 2 vectors of channels               what these rows see of them stays in the first-level cache
//       for each row, for 8 pixels side by side     in registers
//         for each row of taps                      a vector of the source is read once for all pixels that see it
//
// Where the channels do not fill the last vector it reaches back over those before it, which are computed twice.
#pragma once

#include "tile.hpp"

namespace kinone::KINONE_ISA {
namespace {

template <class T>
bool is_depthwise(const Convolution<T>& c) {
  return c.groups > 1 && c.groups == c.channels && c.groups == c.out_channels;
}

constexpr int pixels_at_once = 8, vectors_by_channel = registers == 32 ? 2 : 1;
constexpr Index places_ahead = 16;  // of what is read, the source is fetched into the first-level cache

// Calls f.of<LANES, VECTORS>(channel) for vectors that cover all channels.
template <int LANES, int VECTORS, class F>
void over_channels(Index channels, const F& f) {
  if constexpr (LANES > 1)
    if (channels < LANES) return over_channels<LANES / 2, 1>(channels, f);
  Index c = 0;
  for (; c + VECTORS * LANES <= channels; c += VECTORS * LANES) f.template of<LANES, VECTORS>(c);
  for (; c < channels; c += LANES) f.template of<LANES, 1>(min(c, channels - LANES));
}

// A row of taps under a row of pixels: place z of the source is row[z·channels] if z < length, else zeros.
template <class T>
struct TapRow {
  const T* row;
  Index length, offset;
  const T* w;
};

// Some rows of y, with `wide` taps to a row of them. If taps lie further apart than one pixel, or backwards with a
// stride, each is a row of its own.
template <class T>
struct ByChannel {
  const Product<T>& p;
  const T *w, *zeros;
  const Index* position;
  Index begin, end, wide;
  TapRow<T>* taps;
  bool is_large;

  template <int LANES, int VECTORS>
  void of(Index channel) const {
    Index stride = p.axis[2].stride;
    if (LANES < lanes<T> || wide == 1) return rows<LANES, VECTORS, 1, 1>(channel);
    if constexpr (LANES == lanes<T>) {
      if (wide == 2) return rows<LANES, VECTORS, 2, 1>(channel);
      if (wide == 3) return stride == 1 ? rows<LANES, VECTORS, 3, 1>(channel) : rows<LANES, VECTORS, 3, 2>(channel);
      return stride == 1 ? rows<LANES, VECTORS, 5, 1>(channel) : rows<LANES, VECTORS, 5, 2>(channel);
    }
  }

  template <int LANES, int VECTORS, int TAPS, int STRIDE>
  void rows(Index channel) const {
    const Axis &a = p.axis[0], &b = p.axis[1], &c = p.axis[2];
    // Pixels are taken in the order in which the taps go: backwards for the input's gradient.
    Index turn = TAPS > 1 && c.apart < 0 ? -1 : 1, taps_of_row = TAPS > 1 ? 1 : c.taps, count = p.taps() / TAPS;
    for (Index row = begin; row < end; row++) {
      Index j = row % b.count, i = row / b.count % a.count, image = row / b.count / a.count;
      for (Index r = 0; r < count; r++) {
        Index tap = r % taps_of_row, v = r / taps_of_row % b.taps, u = r / taps_of_row / b.taps;
        Index x = i * a.stride + a.offset + u * a.apart, y = j * b.stride + b.offset + v * b.apart;
        bool is_inside = x >= 0 && x < a.length && y >= 0 && y < b.length;
        taps[r] = {is_inside ? p.source + ((image * a.length + x) * b.length + y) * c.length * p.groups + channel : zeros,
                   is_inside ? c.length : 0, c.offset + tap * c.apart, w + channel};
      }
      T* y = p.y + (((image * a.size + a.first + i * a.step) * b.size + b.first + j * b.step) * c.size + c.first) * p.groups;
      for (Index k = 0; k < c.count; k += pixels_at_once) {
        Index pixels = min(c.count - k, pixels_at_once), first = turn > 0 ? k : k + pixels - 1;
        some<LANES, VECTORS, TAPS, STRIDE>(y + first * c.step * p.groups, turn * c.step * p.groups, pixels, channel,
                                           first * c.stride, TAPS > 1 ? turn : c.stride, count);
      }
    }
  }

  // Pixels side by side, the first of which sees the source from `place` on.
  template <int LANES, int VECTORS, int TAPS, int STRIDE>
  void some(T* y, Index to_pixel, Index pixels, Index channel, Index place, Index step, Index count) const {
    using V = Vector<T, LANES>;
    constexpr int PIXELS = pixels_at_once;
    Index ahead = places_ahead * p.axis[2].stride * p.groups;
    auto chain = [&](Index from, V (&s)[PIXELS][VECTORS]) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int i = 0; i < PIXELS; i++)
        for (int v = 0; v < VECTORS; v++) s[i][v] = V{};
      for (Index r = from; r < min(from + chunk, count); r++) {
        V weight[TAPS][VECTORS];
        for (int t = 0; t < TAPS; t++)
          for (int v = 0; v < VECTORS; v++)
            weight[t][v] = load<V>(taps[r].w + position[r * TAPS + t] * p.groups + v * LANES);
        Index z = place + taps[r].offset, length = taps[r].length;
#pragma GCC unroll 24
        for (int j = 0; j < (PIXELS - 1) * STRIDE + TAPS; j++, z += step) {
          bool is_inside = static_cast<Size>(z) < static_cast<Size>(length);
          const T* x = is_inside ? taps[r].row + z * p.groups : zeros;
          V seen[VECTORS];
          for (int v = 0; v < VECTORS; v++) seen[v] = load<V>(x + v * LANES), __builtin_prefetch(x + ahead + v * LANES);
#pragma GCC unroll 8
          for (int i = 0; i < PIXELS; i++)
            if (j - i * STRIDE >= 0 && j - i * STRIDE < TAPS)
              for (int v = 0; v < VECTORS; v++) s[i][v] = fma(seen[v], weight[j - i * STRIDE][v], s[i][v]);
        }
      }
    };
    V total[PIXELS][VECTORS];
    chain(0, total);
    for (Index from = chunk; from < count; from += chunk) {
      V s[PIXELS][VECTORS];
      chain(from, s);
      for (int i = 0; i < PIXELS; i++)
        for (int v = 0; v < VECTORS; v++) total[i][v] = total[i][v] + s[i][v];
    }
    Piece<T> t{};
    t.bias = p.bias, t.y0 = p.y, t.residual = p.residual, t.is_relu = p.is_relu, t.is_large = is_large;
#pragma GCC unroll 8
    for (int i = 0; i < PIXELS; i++)
      if (i < pixels)
        for (int v = 0; v < VECTORS; v++) finish(t, y + i * to_pixel, channel + v * LANES, total[i][v]);
  }
};

// How many taps a row of them has that are computed together.
template <class T>
Index wide(const Product<T>& p) {
  const Axis& c = p.axis[2];
  bool is_next = c.apart == 1 ? c.stride <= 2 : c.apart == -1 && c.stride == 1;
  bool is_row = c.taps == 3 || c.taps == 5 || (c.taps == 2 && c.stride == 1);
  return is_next && is_row && p.taps() <= chunk ? c.taps : 1;
}

// Products whose rows lie side by side, a block of rows of all of them at a time: what is in a cache serves them all.
// The first has most rows; w: (kernel position, channel).
template <class T>
void depthwise(const Product<T>* products, Index count, Index taps, const T* w, const Index* position, const T* zeros) {
  const Axis *a = products->axis, &c = a[2];
  Index rows = products->batch * a[0].count * a[1].count, channels = products->groups;
  Index crew = crew_for(static_cast<double>(products->pixels()) * taps * channels);
  // What a block of rows sees should not leave the second-level cache between one vector of channels and the next.
  Index block = (256 << 10) / (c.length * a[1].stride * channels * Index{sizeof(T)});
  Index tasks = blocks(rows, max(min(block, blocks(rows, crew > 1 ? 4 * crew : 1)), 1));
  share_out(crew, tasks, taps * sizeof(TapRow<T>), [&](Index task, char* scratch) {
    const Index* of_taps = position;
    for (const Product<T>* p = products; p < products + count; of_taps += p++->taps()) {
      Index rows = p->batch * p->axis[0].count * p->axis[1].count;
      over_channels<lanes<T>, vectors_by_channel>(
          channels, ByChannel<T>{*p, w, zeros, of_taps, task * rows / tasks, (task + 1) * rows / tasks, wide(*p),
                                 reinterpret_cast<TapRow<T>*>(scratch), p->is_large(channels)});
    }
  });
}

}  // namespace
}  // namespace kinone::KINONE_ISA

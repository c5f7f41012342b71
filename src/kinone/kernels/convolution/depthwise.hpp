// Convolutions with a group for each channel: vectors run along the channels, and each is a chain over the taps.
//
//   y[pixel, c] = Σ over the taps t in order, in chunks of 384, of source[place(pixel, t), c]·w[position(t), c]
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

constexpr int rows_by_channel = registers == 32 ? 8 : 4;

// Calls f.of<LANES, VECTORS>(channel) for vectors that cover all channels.
template <int LANES, class F>
void over_channels(long channels, const F& f) {
  if constexpr (LANES > 1)
    if (channels < LANES) return over_channels<LANES / 2>(channels, f);
  long c = 0;
  for (; c + 2 * LANES <= channels; c += 2 * LANES) f.template of<LANES, 2>(c);
  for (; c < channels; c += LANES) f.template of<LANES, 1>(min(c, channels - LANES));
}

template <class T>
struct ByChannel {
  const Piece<T>& t;
  long taps, channels;

  template <int LANES, int VECTORS>
  void of(long channel) const {
    using V = Vector<T, LANES>;
    constexpr int ROWS = rows_by_channel;
    V total[ROWS][VECTORS];
    for (long first = 0; first == 0 || first < taps; first += chunk) {
      V s[ROWS][VECTORS] = {};
      const T* const* at = t.at + first * t.apart;
      for (long tap = first; tap < min(first + chunk, taps); tap++, at += t.apart) {
        const T* w = t.b + t.position[tap] * channels + channel;
        V x[VECTORS];
        for (int v = 0; v < VECTORS; v++) x[v] = load<V>(w + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++)
          for (int v = 0; v < VECTORS; v++) s[i][v] = fma(load<V>(at[i] + channel + v * LANES), x[v], s[i][v]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++) total[i][v] = first ? total[i][v] + s[i][v] : s[i][v];
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
      if (i < t.rows)
        for (int v = 0; v < VECTORS; v++) finish(t, t.y[i], channel + v * LANES, total[i][v]);
  }
};

// w: (kernel position, channel).
template <class T>
void depthwise(const Product<T>& p, const T* w, const long* position, const T* zeros) {
  long pixels = p.pixels(), taps = p.taps(), crew = crew_for(static_cast<double>(pixels) * taps * p.groups);
  long block = min(rounded(blocks(pixels, crew > 1 ? 4 * crew : 1), Pixels<T>::whole), 96);
  size_t bytes = Pixels<T>::bytes(block) + taps * block * sizeof(T*) + 128;
  share_out(crew, blocks(pixels, block), bytes, [&](long task, char* scratch) {
    Pixels<T> x(p, task * block, min(block, pixels - task * block), scratch);
    const T** at = take<const T*>(scratch, taps * block);
    x.look_up(p, zeros, at, block);
    Piece<T> t{at, block, 0, 0, 0, w, position, 0, 0, x.y, 0, 0, 0, true, true, p.bias, p.y, p.residual, p.is_relu};
    for (long i = 0; i < x.count; i += rows_by_channel, t.at += rows_by_channel, t.y += rows_by_channel) {
      t.rows = min(x.count - i, rows_by_channel);
      over_channels<lanes<T>>(p.groups, ByChannel<T>{t, taps, p.groups});
    }
  });
}

}  // namespace
}  // namespace kinone::KINONE_ISA

// The gradient of the weights, in the order of profile kn1:
//
//   w[o, c, k] = Σ over (image n, pixel i of y, row by row) of  y[n, i, o]·x[n, i·stride + k·dilation − before, c]
//
// a chain of fused multiply-adds from +0 over all pixels in order, in chunks of 384, the chunk results added in order.
// What lies outside x is +0 and takes part.
//
//   for each chunk of 384 pixels, each by any thread if there are few weights, else in order
//     for panels of up to 4 vectors of (kernel position, channel): what the pixels see is gathered
//       for tiles of 6 or 8 out channels: the tile, whose rows read y where it lies
//
// With a group for each channel, five taps at a time: y's vector meets the vector that each of them sees.
#include "../native/layout.hpp"
#include "depthwise.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr long rows_of_unit = 48;  // out channels for which a gathered panel is worth its while
constexpr int taps_at_once = 5;

// Calls f(chunk, share, to, is_first, is_last, scratch), which adds the share's part of a chunk to `to`, so that the
// chunks are added in order: one after the other, or each on its own and all of them afterwards.
template <class T, class F>
void over_chunks(long crew, long chunks, long shares, long size, T* total, T* partial, long slots, size_t bytes,
                 const F& f) {
  if (slots == 1)
    return share_out(crew, shares, bytes, [&](long share, char* scratch) {
      for (long i = 0; i < chunks; i++) f(i, share, total, i == 0, i == chunks - 1, scratch);
    });
  for (long first = 0; first < chunks; first += slots) {
    long count = min(slots, chunks - first), pieces = 4 * crew;
    share_out(crew, count * shares, bytes, [&](long task, char* scratch) {
      f(first + task / shares, task % shares, partial + task / shares * size, true, false, scratch);
    });
    share_out(crew, pieces, 0, [&](long piece, char*) {
      for (long i = piece * size / pieces; i < (piece + 1) * size / pieces; i++) {
        T s = first ? total[i] + partial[i] : partial[i];
        for (long slot = 1; slot < count; slot++) s = s + partial[slot * size + i];
        total[i] = first + count == chunks ? one_nan(s) : s;
      }
    });
  }
}

// One chunk for the panels and out channels of a share. to: (out channel, kernel position, channel of the group).
template <class T>
void weights_of_chunk(const Product<T>& p, long first, long begin, long end, T* to, bool is_first, bool is_last,
                      char* scratch) {
  long numbers = p.taps() * p.depth, channels = p.groups * p.columns;
  Panels<T> panels(numbers);
  Pixels<T> x(p, first, min(chunk, p.pixels() - first), scratch);
  T* gathered = take<T>(scratch, chunk * panels.width(panels.count - 1));
  long units = blocks(p.columns, rows_of_unit);
  const T* y = p.y + first * channels;
  for (long unit = begin; unit < end; unit++) {
    long group = unit / units / panels.count, panel = unit / units % panels.count, j = panels.begin(panel);
    long width = panels.width(panel), rows = panels.rows(panel), columns = min(numbers - j, width);
    if (unit == begin || unit % units == 0) {
      x.gather(p, group * p.depth, j, j + columns, gathered, width);
      for (long i = 0; i < x.count && columns < width; i++)
        for (long k = columns; k < width; k++) gathered[i * width + k] = 0;
    }
    for (long o = unit % units * rows_of_unit; o < min((unit % units + 1) * rows_of_unit, p.columns); o += rows) {
      const T* at[8];
      T* w[8];
      for (long i = 0; i < rows; i++) {
        long row = group * p.columns + min(o + i, p.columns - 1);
        at[i] = y + row, w[i] = to + row * numbers;
      }
      Piece<T> t{at, 0, 0, channels, x.count, gathered, nullptr, 0, x.count,
                w, j, min(p.columns - o, rows), columns, is_first, is_last};
      panels.compute(t, panel);
    }
  }
}

template <class T>
struct WeightsByChannel {
  const T* const* at;  // of the first tap
  const T* y;
  long count, taps, channels;
  T* to;  // (tap, channel)

  template <int LANES, int VECTORS>
  void of(long channel) const {
    using V = Vector<T, LANES>;
    V s[taps_at_once][VECTORS] = {};
    const T* g = y + channel;
    for (long i = 0; i < count; i++, g += channels) {
      V d[VECTORS];
      for (int v = 0; v < VECTORS; v++) d[v] = load<V>(g + v * LANES);
#pragma GCC unroll 5
      for (int k = 0; k < taps_at_once; k++) {
        const T* x = at[k * chunk + i] + channel;
        for (int v = 0; v < VECTORS; v++) s[k][v] = fma(d[v], load<V>(x + v * LANES), s[k][v]);
      }
    }
#pragma GCC unroll 5
    for (int k = 0; k < taps_at_once; k++)
      if (k < taps)
        for (int v = 0; v < VECTORS; v++) store(to + k * channels + channel + v * LANES, s[k][v]);
  }
};

// One chunk of all channels. to: (kernel position, channel).
template <class T>
void weights_by_channel(const Product<T>& p, const T* zeros, long first, T* to, char* scratch) {
  long taps = p.taps();
  Pixels<T> x(p, first, min(chunk, p.pixels() - first), scratch);
  const T** at = take<const T*>(scratch, rounded(taps, taps_at_once) * chunk);
  x.look_up(p, zeros, at, chunk);
  for (long i = taps * chunk; i < rounded(taps, taps_at_once) * chunk; i++) at[i] = zeros;
  for (long tap = 0; tap < taps; tap += taps_at_once)
    over_channels<lanes<T>>(p.groups, WeightsByChannel<T>{at + tap * chunk, p.y + first * p.groups, x.count,
                                                          min(taps - tap, taps_at_once), p.groups, to + tap * p.groups});
}

template <class T>
void weights(const Convolution<T>& c) {
  Product<T> p = product_of(c);
  bool is_depthwise = c.groups > 1 && c.groups == c.channels && c.groups == c.out_channels;
  long kernel = p.taps(), numbers = kernel * p.depth, size = c.out_channels * numbers;
  long chunks = blocks(p.pixels(), chunk), crew = crew_for(static_cast<double>(p.pixels()) * size);
  Panels<T> panels(numbers);
  long units = is_depthwise ? 1 : c.groups * panels.count * blocks(p.columns, rows_of_unit);
  long shares = crew > 1 ? min(units, 4 * crew) : 1, slots = 1;
  if (is_depthwise || units < 4 * crew) slots = crew > 1 ? min(chunks, blocks(4 * crew, shares)) : 1;
  if (is_depthwise && slots == 1 && chunks > 1) slots = min(chunks, 4);
  bool is_in_place = kernel == 1 || p.depth == 1;
  is_in_place = !is_depthwise && is_in_place;
  char* memory = workspace(((slots > 1) * slots * size + size + c.channels) * sizeof(T) + 3 * 64);
  T* partial = take<T>(memory, (slots > 1) * slots * size);
  T* total = is_in_place ? c.w : take<T>(memory, size);
  if (is_depthwise) {
    T* zeros = take<T>(memory, c.channels);
    for (long i = 0; i < c.channels; i++) zeros[i] = 0;
    size_t bytes = Pixels<T>::bytes(chunk) + rounded(kernel, taps_at_once) * chunk * sizeof(T*) + 128;
    over_chunks(crew, chunks, 1, size, total, partial, slots, bytes,
                [&](long i, long, T* to, bool, bool, char* scratch) {
                  weights_by_channel(p, zeros, i * chunk, to, scratch);
                });
    if (slots == 1)
      for (long i = 0; i < size; i++) total[i] = one_nan(total[i]);
    return transposed(c.w, kernel, 0, 1, total, c.channels, kernel, c.channels);
  }
  size_t bytes = Pixels<T>::bytes(chunk) + chunk * most_vectors_of_columns * lanes<T> * sizeof(T) + 128;
  over_chunks(crew, chunks, shares, size, total, partial, slots, bytes,
              [&](long i, long share, T* to, bool is_first, bool is_last, char* scratch) {
                weights_of_chunk(p, i * chunk, share * units / shares, (share + 1) * units / shares, to, is_first,
                                 is_last, scratch);
              });
  if (!is_in_place)
    share_out(crew, c.out_channels, 0, [&](long o, char*) {
      transposed(c.w + o * numbers, kernel, 0, 1, total + o * numbers, p.depth, kernel, p.depth);
    });
}

}  // namespace

void convolution_backward_weight(const Convolution<float>& c) {
  is_winograd(c) ? winograd_backward_weight(c) : weights(c);
}
void convolution_backward_weight(const Convolution<double>& c) { weights(c); }

}  // namespace kinone::KINONE_ISA

// The gradient of the weights, in the order of profile kn1:
//
//   w[o, c, k] = Σ over (image n, pixel i of y, row by row) of  y[n, i, o]·x[n, i·stride + k·dilation − before, c]
//
// a chain of fused multiply-adds from +0 over all pixels in order, in chunks of 384, the chunk results added in order.
// What lies outside x is +0 and takes part.
//
//   for each chunk of 384 pixels, each by any thread where there are few weights, else in order
//     for panels of up to 4 vectors of (kernel position, channel): what the pixels see is gathered
//       for tiles of 6 or 8 out channels: the tile, whose rows read y where it lies
//
// With a group for each channel, five taps at a time: y's vector meets the vector that each of them sees.
#include "../native/layout.hpp"
#include "depthwise.hpp"

namespace kinone::KINONE_ISA {
namespace {

// None of these changes a bit, but the number of taps may not exceed what is looked up.
constexpr Index rows_of_unit = 48;    // out channels for which a gathered panel is worth its while
constexpr Index most_sums = 2 << 20;  // numbers in the sums of chunks that wait to be added
constexpr Index pixels_ahead = 32;    // of what is read, y is fetched into the first-level cache
constexpr int taps_at_once = 5;

// How the work is shared out: a chunk's sums fall into `units` parts. Few parts go round in `shares` for `slots` chunks
// at once, whose sums wait for each other; many are taken one by one, through all chunks.
struct Plan {
  Index crew, chunks, units, slots, shares;

  Plan(double work, Index pixels, Index units, Index size)
      : crew(crew_for(work)), chunks(blocks(pixels, chunk)), units(units),
        slots(crew == 1 || units >= 8 * crew ? 1 : min(chunks, max(most_sums / size, 1))),
        shares(crew == 1 ? 1 : min(units, blocks(8 * crew, slots))) {}
};

// Calls f(chunk, first unit, unit after the last, to, is_first, is_last, scratch), which adds sums to those in `to`, so
// that the chunks are added in order.
template <class T, class F>
void over_chunks(const Plan& plan, Index size, T* total, T* partial, size_t bytes, const F& f) {
  auto compute = [&](Index chunk, Index share, T* to, bool is_first, bool is_last, char* scratch) {
    f(chunk, share * plan.units / plan.shares, (share + 1) * plan.units / plan.shares, to, is_first, is_last, scratch);
  };
  if (plan.slots == 1)
    return share_out(plan.crew, plan.shares, bytes, [&](Index share, char* scratch) {
      for (Index i = 0; i < plan.chunks; i++) compute(i, share, total, i == 0, i == plan.chunks - 1, scratch);
    });
  for (Index first = 0; first < plan.chunks; first += plan.slots) {
    Index count = min(plan.slots, plan.chunks - first), pieces = 4 * plan.crew;
    share_out(plan.crew, count * plan.shares, bytes, [&](Index task, char* scratch) {
      Index slot = task / plan.shares;
      compute(first + slot, task % plan.shares, partial + slot * size, true, false, scratch);
    });
    share_out(plan.crew, pieces, 0, [&](Index piece, char*) {
      Index begin = piece * size / pieces, end = (piece + 1) * size / pieces;
      for (Index slot = 0; slot < count; slot++)
        for (Index i = begin; i < end; i++) {
          T s = first + slot ? total[i] + partial[slot * size + i] : partial[slot * size + i];
          total[i] = first + slot == plan.chunks - 1 ? one_nan(s) : s;
        }
    });
  }
}

// ---------------------------------------------------------------------------------- groups of several channels
template <class T>
void by_group(const Convolution<T>& c, const Product<T>& p, double work) {
  Index kernel = p.taps(), numbers = kernel * p.depth, size = c.out_channels * numbers, depth = p.depth;
  Panels<T> panels(numbers);
  bool has_many = c.groups * panels.count >= 8 * crew_for(work);
  Index rows_of_unit = has_many ? p.columns : KINONE_ISA::rows_of_unit, blocks_of_rows = blocks(p.columns, rows_of_unit);
  Plan plan(work, p.pixels(), c.groups * panels.count * blocks_of_rows, size);
  // Sums are (out channel, kernel position, channel of the group).
  bool is_in_place = kernel == 1 || depth == 1;
  char* memory = workspace(((plan.slots > 1) * plan.slots + 1) * size * sizeof(T) + 2 * 64);
  T* total = is_in_place ? c.w : take<T>(memory, size);
  size_t bytes = Pixels<T>::bytes(chunk) + (chunk * most_vectors_of_columns + 1) * vector_bytes + 128;
  over_chunks(plan, size, total, reinterpret_cast<T*>(memory), bytes,
              [&](Index i, Index begin, Index end, T* to, bool is_first, bool is_last, char* scratch) {
    Pixels<T> x(p, i * chunk, min(chunk, p.pixels() - i * chunk), scratch);
    T* gathered = take<T>(scratch, (chunk * most_vectors_of_columns + 1) * lanes<T>);
    for (Index unit = begin; unit < end; unit++) {
      Index group = unit / blocks_of_rows / panels.count, panel = unit / blocks_of_rows % panels.count;
      Index j = panels.begin(panel), width = panels.width(panel), rows = panels.rows(panel);
      Index columns = min(numbers - j, width), o0 = unit % blocks_of_rows * rows_of_unit;
      if (unit == begin || o0 == 0) {
        for (Index pixel = 0; pixel < x.count && columns < width; pixel++)
          store(gathered + pixel * width + columns, Vector<T>{});
        x.gather(p, group * depth, j, j + columns, gathered, width);
      }
      for (Index o = o0; o < min(o0 + rows_of_unit, p.columns); o += rows) {
        const T* at[8];
        T* w[8];
        for (Index r = 0; r < 8; r++) {
          Index row = group * p.columns + min(o + r, p.columns - 1);
          at[r] = p.y + i * chunk * c.out_channels + row, w[r] = to + row * numbers;
        }
        Piece<T> t{at, 0, 0, c.out_channels, x.count, gathered, nullptr, 0, x.count,
                   w, j, min(p.columns - o, rows), columns, is_first, is_last};
        t.ahead = pixels_ahead * c.out_channels, t.pace = c.out_channels;
        panels.compute(t, panel);
      }
    }
  });
  if (!is_in_place)
    share_out(plan.crew, c.out_channels, 0, [&](Index o, char*) {
      transposed(c.w + o * numbers, kernel, 0, 1, total + o * numbers, depth, kernel, depth);
    });
}

// ---------------------------------------------------------------------------------- a group for each channel
template <class T>
struct WeightsByChannel {
  const T* const* at;  // of the first tap
  const T* y;
  Index count, channels, wide;
  T* to;  // (tap, channel), `wide` channels

  template <int LANES, int VECTORS>
  void of(Index channel) const {
    using V = Vector<T, LANES>;
    V s[taps_at_once][VECTORS] = {};
    const T* g = y + channel;
    for (Index i = 0; i < count; i++, g += channels) {
      V d[VECTORS];
      for (int v = 0; v < VECTORS; v++) d[v] = load<V>(g + v * LANES);
#pragma GCC unroll 5
      for (int k = 0; k < taps_at_once; k++) {
        const T* x = at[k * chunk + i] + channel;
        for (int v = 0; v < VECTORS; v++) s[k][v] = fma(d[v], load<V>(x + v * LANES), s[k][v]);
      }
    }
    for (int k = 0; k < taps_at_once; k++)
      for (int v = 0; v < VECTORS; v++) store(to + k * wide + channel + v * LANES, s[k][v]);
  }
};

template <class T>
void by_channel(const Convolution<T>& c, const Product<T>& p, double work) {
  constexpr Index unit = 2 * lanes<T>;
  Index taps = p.taps(), channels = c.channels, size = taps * channels;
  Plan plan(work, p.pixels(), blocks(channels, unit), size);
  // Sums are (kernel position, channel).
  char* memory = workspace(((plan.slots > 1) * plan.slots * size + size + channels) * sizeof(T) + 3 * 64);
  T* zeros = take<T>(memory, channels);
  T* total = take<T>(memory, size);
  for (Index i = 0; i < channels; i++) zeros[i] = 0;
  Index looked_up = rounded(taps, taps_at_once) * chunk, most = rounded(channels, unit) * taps_at_once;
  size_t bytes = Pixels<T>::bytes(chunk) + looked_up * sizeof(T*) + most * sizeof(T) + 128;
  over_chunks(plan, size, total, reinterpret_cast<T*>(memory), bytes,
              [&](Index i, Index begin, Index end, T* to, bool is_first, bool is_last, char* scratch) {
    Pixels<T> x(p, i * chunk, min(chunk, p.pixels() - i * chunk), scratch);
    const T** at = take<const T*>(scratch, looked_up);
    T* sums = reinterpret_cast<T*>(scratch);
    Index first = begin * unit, wide = min(end * unit, channels) - first;
    x.look_up(p, zeros, at, chunk);
    for (Index j = 0; j < taps * chunk; j++) at[j] += first;
    for (Index j = taps * chunk; j < looked_up; j++) at[j] = zeros;
    for (Index tap = 0; tap < taps; tap += taps_at_once) {
      over_channels<lanes<T>, 2>(wide, WeightsByChannel<T>{at + tap * chunk, p.y + i * chunk * channels + first, x.count,
                                                        channels, wide, sums});
      for (Index k = 0; k < min(taps - tap, taps_at_once); k++)
        for (Index j = 0; j < wide; j++) {
          T& w = to[(tap + k) * channels + first + j];
          T s = is_first ? sums[k * wide + j] : w + sums[k * wide + j];
          w = is_last ? one_nan(s) : s;
        }
    }
  });
  transposed(c.w, taps, 0, 1, total, channels, taps, channels);
}

template <class T>
void weights(const Convolution<T>& given) {
  const Convolution<T> c = flattened(given);
  Product<T> p = product_of(c);
  double work = static_cast<double>(p.pixels()) * p.taps() * p.depth * c.out_channels;
  is_depthwise(c) ? by_channel(c, p, work) : by_group(c, p, work);
}

}  // namespace

void convolution_backward_weight(const Convolution<float>& c) {
  is_winograd(c) ? winograd_backward_weight(c) : weights(c);
}
void convolution_backward_weight(const Convolution<double>& c) { weights(c); }

}  // namespace kinone::KINONE_ISA

// A convolution as a product whose left matrix exists nowhere: pixels × (kernel position, channel), row by row a list of
// places in the source. Forward, the source is x and the result y; for the input's gradient it is the other way round.
//
//   result[pixel, o] = Σ over the taps t in order, over the channels c in order:  source[place(pixel, t), c]·w[t, c, o]
//
// A tap is a kernel position that the pixel sees. A place outside the source is a pixel of zeros that takes part.
#pragma once

#include "../gemm/tile.hpp"
#include "../native/pool.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

// One of the three spatial axes.
struct Axis {
  Index count, first, step, size;  // pixel j, j < count, lies at first + j·step of the result, whose length is size
  Index length, stride;            // of the source, where tap t of pixel j lies at j·stride + offset + t·apart
  Index taps, offset, apart;
  Index position, skip;            // tap t is kernel position position + t·skip

  // All taps of a pixel lie in the source if what it sees without their offsets is one of `room` places from `least` on.
  Index least() const { return -min(offset, offset + (taps - 1) * apart); }
  Index room() const { return max(length - (taps - 1) * max(apart, -apart), 0); }
  bool is_inside(Index place) const { return place >= least() && place - least() < room(); }
};

template <class T>
struct Product {
  Axis axis[3];
  Index batch, groups, depth, columns;  // depth: the channels of the source in a group; columns: of the result
  const T* source;
  T* y;
  const T *bias, *residual;
  bool is_relu;

  Index pixels() const { return batch * axis[0].count * axis[1].count * axis[2].count; }
  Index taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }

  // Whether y, of which `run` numbers side by side are computed together, goes past the caches.
  bool is_large(Index run) const {
    return goes_past_caches(y, run, batch * axis[0].size * axis[1].size * axis[2].size * groups * columns);
  }
};

// If every pixel of y sees one of x, all images are one row.
template <class T>
Convolution<T> flattened(Convolution<T> c) {
  Index pixels = c.batch;
  for (int i = 0; i < 3; i++) {
    if (c.kernel[i] > 1 || c.stride[i] > 1 || c.before[i] || c.out[i] != c.size[i]) return c;
    pixels *= c.out[i];
  }
  c.batch = c.size[0] = c.out[0] = c.size[1] = c.out[1] = 1;
  c.size[2] = c.out[2] = pixels;
  return c;
}

// Where x lies under each tap of y.
template <class T>
Product<T> product_of(const Convolution<T>& c) {
  Product<T> p{{}, c.batch, c.groups, c.channels / c.groups, c.out_channels / c.groups, c.x, c.y,
               c.bias, c.residual, c.is_relu};
  for (int i = 0; i < 3; i++)
    p.axis[i] = {c.out[i], 0, 1, c.out[i], c.size[i], c.stride[i], c.kernel[i], -c.before[i], c.dilation[i], 0, 1};
  return p;
}

// The kernel position of each tap.
template <class T>
void positions(const Product<T>& p, const Index (&kernel)[3], Index* to) {
  const Axis &a = p.axis[0], &b = p.axis[1], &c = p.axis[2];
  for (Index i = 0; i < a.taps; i++)
    for (Index j = 0; j < b.taps; j++)
      for (Index k = 0; k < c.taps; k++)
        *to++ = ((a.position + i * a.skip) * kernel[1] + b.position + j * b.skip) * kernel[2] + c.position + k * c.skip;
}

template <class T>
T* take(char*& scratch, Index count) {
  T* taken = reinterpret_cast<T*>(scratch);
  scratch += rounded(count * sizeof(T), 64);
  return taken;
}

// How many threads that many multiplications are worth: waking others takes longer than a few of them.
inline Index crew_for(double work) { return work <= 1 << 19 ? 1 : threads(); }

template <class F>
void share_out(Index crew, Index tasks, size_t bytes, const F& f) {
  if (crew > 1) return parallel(tasks, bytes, f);
  parallel(1, bytes, [&](Index, char* scratch) {
    for (Index task = 0; task < tasks; task++) f(task, scratch);
  });
}

template <class P>
inline void fill(P* to, Index count, P first, Index step) {
  for (Index i = 0; i < count; i++) to[i] = first + i * step;
}

// Exactly `count` numbers; the last vector may reach back over those before it.
template <int LANES, class T>
inline void copy(T* to, const T* from, Index count) {
  if (count >= LANES) {
    for (Index i = 0; i + LANES < count; i += LANES) store(to + i, load<Vector<T, LANES>>(from + i));
    store(to + count - LANES, load<Vector<T, LANES>>(from + count - LANES));
  } else if constexpr (LANES > 1) {
    copy<LANES / 2>(to, from, count);
  }
}

// ---------------------------------------------------------------------------------- pixels
// Some pixels of the result, one after the other.
template <class T>
struct Pixels {
  static constexpr Index group = lanes<Index>, whole = 24;  // the last is repeated: tiles of 6 and 8 read on
  using Longs = Vector<Index>;
  using Unsigned = Vector<Size>;

  Index count;
  Index* place[3];   // what they see of the source before a tap's offset is added
  Index* address;    // and where that lies in memory
  Index* is_inside;  // whether they see nothing but the source
  T** y;

  static Index bytes(Index count) { return 6 * rounded(rounded(count, whole) * sizeof(Index), 64); }

  Pixels(const Product<T>& p, Index first, Index count, char*& scratch) : count(count) {
    Index most = rounded(count, whole);
    for (auto& axis : place) axis = take<Index>(scratch, most);
    address = take<Index>(scratch, most);
    is_inside = take<Index>(scratch, most);
    y = take<T*>(scratch, most);
    const Axis &a = p.axis[0], &b = p.axis[1], &c = p.axis[2];
    Index k = first % c.count, j = first / c.count % b.count, i = first / c.count / b.count % a.count;
    Index image = first / c.count / b.count / a.count;
    Index seen = p.groups * p.depth * static_cast<Index>(sizeof(T)), made = p.groups * p.columns;
    for (Index done = 0; done < count; k = 0) {
      Index run = min(c.count - k, count - done), u = i * a.stride, v = j * b.stride, w = k * c.stride;
      Index from = reinterpret_cast<Index>(p.source) + (((image * a.length + u) * b.length + v) * c.length + w) * seen;
      Index row = (image * a.size + a.first + i * a.step) * b.size + b.first + j * b.step;
      T* to = p.y + (row * c.size + c.first + k * c.step) * made;
      bool is_row_inside = a.is_inside(u) && b.is_inside(v);
      fill(place[0] + done, run, u, 0);
      fill(place[1] + done, run, v, 0);
      fill(place[2] + done, run, w, c.stride);
      fill(address + done, run, from, c.stride * seen);
      fill(y + done, run, to, c.step * made);
      Index* inside = is_inside + done;
      for (Index q = 0, least = c.least(), room = is_row_inside ? c.room() : 0; q < run; q++, w += c.stride)
        inside[q] = static_cast<Size>(w - least) < static_cast<Size>(room);
      done += run;
      if (++j == b.count) {
        j = 0;
        if (++i == a.count) i = 0, image++;
      }
    }
    for (Index q = count; q < most; q++) {
      for (auto& axis : place) axis[q] = axis[count - 1];
      address[q] = address[count - 1], y[q] = y[count - 1];
    }
  }

  // at[t·apart + i]: the channels that pixel i sees through tap t.
  void look_up(const Product<T>& p, const T* zeros, const T** at, Index apart) const {
    const Axis &a = p.axis[0], &b = p.axis[1], &c = p.axis[2];
    for (Index i = 0; i < rounded(count, whole); i += group) {
      auto x = load<Longs>(place[0] + i), y = load<Longs>(place[1] + i), z = load<Longs>(place[2] + i);
      auto from = load<Longs>(address + i);
      const T** to = at + i;
      for (Index u = a.offset; u != a.offset + a.taps * a.apart; u += a.apart)
        for (Index v = b.offset; v != b.offset + b.taps * b.apart; v += b.apart)
          for (Index w = c.offset; w != c.offset + c.taps * c.apart; w += c.apart, to += apart) {
            Longs is_inside = (Unsigned(x + u) < a.length) & (Unsigned(y + v) < b.length) & (Unsigned(z + w) < c.length);
            Index further = ((u * b.length + v) * c.length + w) * p.groups * p.depth * static_cast<Index>(sizeof(T));
            store(reinterpret_cast<Index*>(to), is_inside ? from + further : Longs{} + reinterpret_cast<Index>(zeros));
          }
    }
  }

  // to[i·wide + j − begin]: number j of all that pixel i sees from `channel` on, tap by tap, begin <= j < end. Taps that
  // lie side by side are copied in one go.
  void gather(const Product<T>& p, Index channel, Index begin, Index end, T* to, Index wide) const {
    const Axis &a = p.axis[0], &b = p.axis[1], &c = p.axis[2];
    Index together = p.groups == 1 && c.apart == 1 ? c.taps : 1, run = together * p.depth;
    for (Index piece = begin / run; piece * run < end; piece++) {
      Index from = max(begin - piece * run, 0), until = min(end - piece * run, run), tap = piece * together;
      Index u = a.offset + tap / c.taps / b.taps * a.apart, v = b.offset + tap / c.taps % b.taps * b.apart;
      Index w = c.offset + tap % c.taps * c.apart;
      Index further = ((u * b.length + v) * c.length + w) * p.groups * p.depth + channel;
      T* row = to + piece * run - begin;
      for (Index i = 0; i < count; i++, row += wide) {
        auto source = reinterpret_cast<const T*>(address[i] + further * static_cast<Index>(sizeof(T)));
        if (is_inside[i]) {
          copy<lanes<T>>(row + from, source + from, until - from);
          continue;
        }
        Index x = place[0][i] + u, y = place[1][i] + v, z = place[2][i] + w;
        bool is_outside = x < 0 || x >= a.length || y < 0 || y >= b.length;
        Index first = is_outside ? until : min(max(-z * p.depth, from), until);
        Index last = max(min((c.length - z) * p.depth, until), first);
        for (Index j = from; j < first; j++) row[j] = 0;
        copy<lanes<T>>(row + first, source + first, last - first);
        for (Index j = last; j < until; j++) row[j] = 0;
      }
    }
  }
};

}  // namespace
}  // namespace kinone::KINONE_ISA

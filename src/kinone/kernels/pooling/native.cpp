// Pooling in the order of profile kn1, taps and outputs always in row-major order of the spatial axes:
//
//   largest    y = −∞, index of the first tap;  for each tap: x replaces y if x > y, or if x is NaN and y is not
//   average    s = +0 in float64;  for each tap: s = s + x;           y = s / count, rounded once
//   backward   of the largest: x = +0;  for each output in order: x[index] = x[index] + g
//              of the average: q = g / count;  s = +0 in float64;  for each output whose window holds x: s = s + q;
//                              x = s, rounded once
//
// Padding takes no part. Vectors run along channels: so no order depends on their width. Where channels lie side by
// side they are read in place. Where plane follows plane, as many planes as a vector is wide are turned into channels,
// some rows at a time, and the results back (`in_bands`). Tasks are bands of rows of the result.
#include "native.hpp"

#include "../native/pool.hpp"
#include "../native/layout.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index band = 1 << 14;  // numbers of a task's result, roughly
constexpr Index small = 1 << 13;  // numbers up to which one thread is quicker than waking others

struct Range {
  Index first, last;  // exclusive
};

// to[j·to_row + i] = from[i·from_row + j], i < rows, j < columns
template <class T>
void turn(T* to, Index to_row, const T* from, Index from_row, Index rows, Index columns) {
  transposed(to, 0, to_row, columns, from, from_row, rows, columns);
}

// The taps through which output o of an axis sees an element.
Range taps(const Windows& w, int axis, Index o) {
  Index start = o * w.stride[axis] - w.before[axis], d = w.dilation[axis], n = w.kernel[axis];
  bool is_inside = start >= 0 && start + (n - 1) * d < w.size[axis];
  if (is_inside) return {0, n};
  return {start < 0 ? blocks(-start, d) : 0, min(n, blocks(w.size[axis] - start, d))};
}

// The outputs whose windows hold elements [i, j) of an axis, without dilation.
Range outputs(const Windows& w, int axis, Index i, Index j) {
  Index first = i + w.before[axis] - w.kernel[axis] + 1;
  return {first > 0 ? blocks(first, w.stride[axis]) : 0,
          min(w.out[axis], (j - 1 + w.before[axis]) / w.stride[axis] + 1)};
}

// The same for element i, from what it was for an element before, or {0, 0}: without a division.
void advance(const Windows& w, int axis, Index i, Range& outputs) {
  Index at = i + w.before[axis], step = w.stride[axis];
  while (outputs.first * step + w.kernel[axis] <= at) outputs.first++;
  while (outputs.last < w.out[axis] && outputs.last * step <= at) outputs.last++;
}

// The rows of x that outputs [i, j) of the first axis see.
Range rows_seen(const Windows& w, Index i, Index j) {
  return {max(0, i * w.stride[0] - w.before[0]),
          min(w.size[0], (j - 1) * w.stride[0] - w.before[0] + (w.kernel[0] - 1) * w.dilation[0] + 1)};
}

// One image, `channels` numbers side by side at each position.
template <class T>
struct Sheet {
  const T* data;
  Index step[3], channels;
};

// What a window holds, in order: how far in memory, and in the flat image, from its first element. Most windows hold as
// much as the one before. Along an axis, elements are so many `apart`.
struct Held {
  Index *offset, *place, count = 0;
  Index lengths[3] = {};

  // `room`: two numbers for each element.
  Held(Index* room, Index most) : offset(room), place(room + most) {}

  void hold(const Range (&ranges)[3], const Index (&apart)[3], const Index (&steps)[3], const Index (&places)[3]) {
    bool is_known = count > 0;
    for (int axis = 0; axis < 3; axis++) {
      Index length = ranges[axis].last - ranges[axis].first;
      is_known &= length == lengths[axis];
      lengths[axis] = length;
    }
    if (is_known) return;
    count = 0;
    for (Index p = 0; p < lengths[0]; p++)
      for (Index q = 0; q < lengths[1]; q++)
        for (Index r = 0; r < lengths[2]; r++, count++) {
          offset[count] = p * apart[0] * steps[0] + q * apart[1] * steps[1] + r * apart[2] * steps[2];
          place[count] = p * apart[0] * places[0] + q * apart[1] * places[1] + r * apart[2] * places[2];
        }
  }
};

// f(c) for channels [c, c + n), the last of them twice if n does not divide their number.
template <int n, class F>
inline void along(Index channels, const F& f) {
  for (Index c = 0; c + n <= channels; c += n) f(c);
  if (channels % n) f(channels - n);
}

// f.template operator()<n>() for vectors of the n numbers that suit so many channels.
template <int n, class F>
inline void at_width(Index channels, const F& f) {
  if constexpr (n > 1) {
    if (channels < n) return at_width<(n > 4 ? n / 2 : 1)>(channels, f);
  }
  f.template operator()<n>();
}

// body(sheet, first row, last row, y, indices, held, scratch) for bands of rows of all results, each `row` positions
// wide; needed(first, last) are the rows of x for that, and scratch is room for as many numbers.
template <class T, class Needed, class Body>
void in_bands(const Images<T>& x, const Index (&size)[3], const Index (&out)[3], const Index (&kernel)[3], T* y,
              Index* indices, const Needed& needed, const Body& body) {
  Index x_row = size[1] * size[2], row = out[1] * out[2], rows = out[0];
  Index wide = x.is_channels_last ? x.channels : lanes<T>;
  Index height = max(1, min(rows, band / max(1, row * wide))), bands = blocks(rows, height);
  Index most = 0;  // rows of x that a band needs
  for (Index i = 0; i < rows; i += height) {
    Range seen = needed(i, min(i + height, rows));
    most = max(most, seen.last - seen.first);
  }
  size_t tile = blocks(most * x_row * wide, lanes<T>) * vector_bytes, result = height * row * wide;
  Index planes = x.batch * x.channels, sheets = x.is_channels_last ? x.batch : blocks(planes, wide);
  Index most_held = min(kernel[0], size[0]) * min(kernel[1], size[1]) * min(kernel[2], size[2]);
  size_t room = blocks(2 * most_held * sizeof(Index), vector_bytes) * vector_bytes;
  size_t bytes = room + tile + (x.is_channels_last ? 0 : tile + result * (sizeof(T) + sizeof(Index)));
  auto task = [&](Index task, char* scratch) {
    Held held(reinterpret_cast<Index*>(scratch), most_held);
    scratch += room;
    Index sheet = task / bands, first = task % bands * height, last = min(first + height, rows);
    Range seen = needed(first, last);
    if (x.is_channels_last) {
      Index at = (sheet * rows + first) * row * wide;
      body(Sheet<T>{x.data + sheet * x.apart, {x.step[0], x.step[1], x.step[2]}, wide}, first, last, y + at,
           indices ? indices + at : nullptr, held, scratch);
      return;
    }
    T* from = reinterpret_cast<T*>(scratch + tile);
    Index* where = reinterpret_cast<Index*>(scratch + 2 * tile);
    T* to = reinterpret_cast<T*>(where + result);
    Index count = min(wide, planes - sheet * wide), area = size[0] * x_row;
    turn(from, wide, x.data + sheet * wide * area + seen.first * x_row, area, count, (seen.last - seen.first) * x_row);
    body(Sheet<T>{from - seen.first * x_row * wide, {x_row * wide, size[2] * wide, wide}, wide}, first, last, to, where,
         held, scratch);
    Index at = sheet * wide * rows * row + first * row;
    turn(y + at, rows * row, to, wide, (last - first) * row, count);
    if (indices) turn(indices + at, rows * row, where, wide, (last - first) * row, count);
  };
  if (planes * max(rows * row, size[0] * x_row) > small) return parallel(sheets * bands, bytes, task);
  char* scratch = workspace(bytes);
  for (Index i = 0; i < sheets * bands; i++) task(i, scratch);
}

// ---------------------------------------------------------------------------------- the largest
template <class T>
struct MaskOf {
  using type = int;
};
template <>
struct MaskOf<double> {
  using type = Index;
};

template <int n, class T>
void largest(const Windows& w, const Sheet<T>& x, Index first, Index last, T* y, Index* indices, Held& held) {
  using Place = typename MaskOf<T>::type;
  using Places = Vector<Place, n>;
  const Index places[] = {w.size[1] * w.size[2], w.size[2], 1};
  for (Index i = first; i < last; i++)
    for (Index j = 0; j < w.out[1]; j++)
      for (Index k = 0; k < w.out[2]; k++, y += x.channels, indices += x.channels) {
        const Range ranges[] = {taps(w, 0, i), taps(w, 1, j), taps(w, 2, k)};
        const Index outputs[] = {i, j, k};
        Index to_corner = 0, place_of_corner = 0;
        for (int axis = 0; axis < 3; axis++) {
          Index at = outputs[axis] * w.stride[axis] - w.before[axis] + ranges[axis].first * w.dilation[axis];
          to_corner += at * x.step[axis], place_of_corner += at * places[axis];
        }
        held.hold(ranges, w.dilation, x.step, places);
        const T* corner = x.data + to_corner;
        Index count = held.count;
        along<n>(x.channels, [&](Index channel) {
          Vector<T, n> best = Vector<T, n>{} - __builtin_inff();
          Places found{};
          for (Index t = 0; t < count; t++) {
            auto seen = load<Vector<T, n>>(corner + held.offset[t] + channel);
            auto is_better = ~(seen <= best) & (best == best);
            best = is_better ? seen : best;
            found = is_better ? Places{} + static_cast<Place>(held.place[t]) : found;
          }
          store(y + channel, one_nan(best));
          Place of_lanes[n];
          store(of_lanes, found + static_cast<Place>(place_of_corner));
          for (int lane = 0; lane < n; lane++) indices[channel + lane] = of_lanes[lane];
        });
      }
}

template <class T>
void forward(const MaxPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.x, w.size, w.out, w.kernel, m.y, m.indices, [&](Index i, Index j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, Index first, Index last, T* y, Index* indices, Held& held, char*) {
             at_width<lanes<T>>(x.channels, [&]<int n>() { largest<n>(w, x, first, last, y, indices, held); });
           });
}

// Channels [first, last) of one image. x is cleared as far as the indices seen so far reach, and no farther: so it is
// still in a cache when g arrives.
template <class T>
bool scatter(const T* g, const Index* indices, T* x, Index positions, Index area, Index wide, Index first, Index last) {
  Index cleared = 0, chunk = max(1, 1024 / (last - first));
  for (Index i = 0; i < positions; i += chunk) {
    Index end = min(i + chunk, positions), reach = area;
    if (end < positions) {
      Size top = 0;  // negative ones are larger than any
      for (Index p = i; p < end; p++)
        for (Index c = first; c < last; c++) {
          Size index = indices[p * wide + c];
          top = index > top ? index : top;
        }
      reach = top < static_cast<Size>(area) ? top + 1 : area;
    }
    if (last - first == wide) {
      for (Index j = cleared * wide; j < reach * wide; j++) x[j] = 0;
    } else {
      for (Index j = cleared; j < reach; j++)
        for (Index c = first; c < last; c++) x[j * wide + c] = 0;
    }
    cleared = max(cleared, reach);
    for (Index p = i; p < end; p++)
      for (Index c = first; c < last; c++) {
        Size index = indices[p * wide + c];
        if (index >= static_cast<Size>(area)) return false;
        T& to = x[index * wide + c];
        to = one_nan(to + g[p * wide + c]);
      }
  }
  return true;
}

template <class T>
bool backward(const MaxPoolBackward<T>& m) {
  const Images<T>& g = m.g;
  Index wide = g.is_channels_last ? g.channels : 1, sheets = g.batch * g.channels / wide;
  Index shares = g.is_channels_last && sheets < 2 * threads() ? blocks(wide, 16) : 1;
  Index group = max(1, band / max(1, m.area * wide / shares)), tasks = blocks(sheets, group);
  bool is_outside = false;
  auto task = [&](Index task, char*) {
    Index share = task % shares;
    for (Index sheet = task / shares * group; sheet < min((task / shares + 1) * group, sheets); sheet++) {
      Index at = sheet * m.positions * wide;
      if (!scatter(g.data + at, m.indices + at, m.x + sheet * m.area * wide, m.positions, m.area, wide,
                   share * wide / shares, (share + 1) * wide / shares))
        __atomic_store_n(&is_outside, true, __ATOMIC_RELAXED);
    }
  };
  if (sheets * wide * (m.area + m.positions) > small) {
    parallel(tasks * shares, 0, task);
  } else {
    for (Index i = 0; i < tasks * shares; i++) task(i, nullptr);
  }
  return !is_outside;
}

// ---------------------------------------------------------------------------------- the average
double count_at(const Counts& counts, Index i, Index j, Index k) {
  return counts.data[i * counts.step[0] + j * counts.step[1] + k * counts.step[2]];
}

// s / count of float64, by a multiplication where that is the same.
struct Divide {
  double count, inverse;
  bool is_power_of_two;

  explicit Divide(double count) : count(count), inverse(1 / count) {
    Index bits = __builtin_bit_cast(Index, count);
    is_power_of_two = !(bits & ((Index{1} << 52) - 1)) && count < 0x1p60;
  }
  template <class V>
  V operator()(V s) const {
    return is_power_of_two ? s * (V{} + inverse) : s / (V{} + count);
  }
};

// The sum of what a window holds, whose first element is at `corner`.
template <int n, class T>
inline Vector<double, n> sum_of(const Held& held, const T* corner) {
  Vector<double, n> s = {};
  for (Index t = 0; t < held.count; t++) {
    auto term = load<Vector<T, n>>(corner + held.offset[t]);
    if constexpr (n == lanes<double>) {
      s = s + doubles(term);
    } else {
      s = s + __builtin_convertvector(term, Vector<double, n>);
    }
  }
  return s;
}

template <int n, class T>
void average(const AvgPool<T>& m, const Sheet<T>& x, Index first, Index last, T* y, Held& held) {
  const Windows& w = m.windows;
  for (Index i = first; i < last; i++)
    for (Index j = 0; j < w.out[1]; j++)
      for (Index k = 0; k < w.out[2]; k++, y += x.channels) {
        const Range ranges[] = {taps(w, 0, i), taps(w, 1, j), taps(w, 2, k)};
        const Index outputs[] = {i, j, k};
        const T* corner = x.data;
        for (int axis = 0; axis < 3; axis++)
          corner += (outputs[axis] * w.stride[axis] - w.before[axis] + ranges[axis].first) * x.step[axis];
        held.hold(ranges, w.dilation, x.step, x.step);
        Divide divided(count_at(m.counts, i, j, k));
        along<n>(x.channels, [&](Index channel) {
          auto y_here = divided(sum_of<n>(held, corner + channel));
          store(y + channel, one_nan(__builtin_convertvector(y_here, Vector<T, n>)));
        });
      }
}

template <class T>
void forward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.size, w.out, w.kernel, m.to, nullptr, [&](Index i, Index j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, Index first, Index last, T* y, Index*, Held& held, char*) {
             at_width<lanes<double>>(x.channels, [&]<int n>() { average<n>(m, x, first, last, y, held); });
           });
}

// quotients[o] = g[o] / count, for the rows of outputs in `seen`.
template <int n, class T>
void divide(const AvgPool<T>& m, const Sheet<T>& g, Range seen, T* quotients) {
  const Windows& w = m.windows;
  for (Index i = seen.first; i < seen.last; i++)
    for (Index j = 0; j < w.out[1]; j++)
      for (Index k = 0; k < w.out[2]; k++, quotients += g.channels) {
        const T* from = g.data + i * g.step[0] + j * g.step[1] + k * g.step[2];
        T count = count_at(m.counts, i, j, k);
        along<n>(g.channels, [&](Index c) { store(quotients + c, load<Vector<T, n>>(from + c) / count); });
      }
}

template <int n, class T>
void spread(const Windows& w, const T* quotients, Index channels, Range seen, Index first, Index last, T* x, Held& held) {
  const Index steps[] = {w.out[1] * w.out[2] * channels, w.out[2] * channels, channels};
  for (Index i = first; i < last; i++)
    for (Index j = 0; j < w.size[1]; j++) {
      Range ranges[] = {outputs(w, 0, i, i + 1), outputs(w, 1, j, j + 1), {0, 0}};
      for (Index k = 0; k < w.size[2]; k++, x += channels) {
        advance(w, 2, k, ranges[2]);
        const T* from = quotients - seen.first * steps[0];
        for (int axis = 0; axis < 3; axis++) from += ranges[axis].first * steps[axis];
        held.hold(ranges, w.dilation, steps, steps);
        along<n>(channels, [&](Index channel) {
          auto s = sum_of<n>(held, from + channel);
          store(x + channel, one_nan(__builtin_convertvector(s, Vector<T, n>)));
        });
      }
    }
}

template <class T>
void backward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.out, w.size, w.kernel, m.to, nullptr, [&](Index i, Index j) { return outputs(w, 0, i, j); },
           [&](const Sheet<T>& g, Index first, Index last, T* x, Index*, Held& held, char* scratch) {
             T* quotients = reinterpret_cast<T*>(scratch);
             Range seen = outputs(w, 0, first, last);
             at_width<lanes<T>>(g.channels, [&]<int n>() { divide<n>(m, g, seen, quotients); });
             at_width<lanes<double>>(g.channels, [&]<int n>() {
               spread<n>(w, quotients, g.channels, seen, first, last, x, held);
             });
           });
}

}  // namespace

void max_pool_forward(const MaxPool<float>& m) { forward(m); }
void max_pool_forward(const MaxPool<double>& m) { forward(m); }
bool max_pool_backward(const MaxPoolBackward<float>& m) { return backward(m); }
bool max_pool_backward(const MaxPoolBackward<double>& m) { return backward(m); }
void avg_pool_forward(const AvgPool<float>& m) { forward(m); }
void avg_pool_forward(const AvgPool<double>& m) { forward(m); }
void avg_pool_backward(const AvgPool<float>& m) { backward(m); }
void avg_pool_backward(const AvgPool<double>& m) { backward(m); }

}  // namespace kinone::KINONE_ISA

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

constexpr long min(long a, long b) { return a < b ? a : b; }
constexpr long max(long a, long b) { return a < b ? b : a; }
constexpr long blocks(long n, long size) { return (n + size - 1) / size; }

constexpr long band = 1 << 14;  // numbers of a task's result, roughly
constexpr long small = 1 << 13;  // numbers up to which one thread is quicker than waking others

struct Range {
  long first, last;  // exclusive
};

// to[j·to_row + i] = from[i·from_row + j], i < rows, j < columns
template <class T>
void turn(T* to, long to_row, const T* from, long from_row, long rows, long columns) {
  transposed(to, 0, to_row, columns, from, from_row, rows, columns);
}

// The taps through which output o of an axis sees an element.
Range taps(const Windows& w, int axis, long o) {
  long start = o * w.stride[axis] - w.before[axis], d = w.dilation[axis], n = w.kernel[axis];
  bool is_inside = start >= 0 && start + (n - 1) * d < w.size[axis];
  if (is_inside) return {0, n};
  return {start < 0 ? blocks(-start, d) : 0, min(n, blocks(w.size[axis] - start, d))};
}

// The outputs whose windows hold elements [i, j) of an axis, without dilation.
Range outputs(const Windows& w, int axis, long i, long j) {
  long first = i + w.before[axis] - w.kernel[axis] + 1;
  return {first > 0 ? blocks(first, w.stride[axis]) : 0,
          min(w.out[axis], (j - 1 + w.before[axis]) / w.stride[axis] + 1)};
}

// The same for element i, from what it was for an element before, or {0, 0}: without a division.
void advance(const Windows& w, int axis, long i, Range& outputs) {
  long at = i + w.before[axis], step = w.stride[axis];
  while (outputs.first * step + w.kernel[axis] <= at) outputs.first++;
  while (outputs.last < w.out[axis] && outputs.last * step <= at) outputs.last++;
}

// The rows of x that outputs [i, j) of the first axis see.
Range rows_seen(const Windows& w, long i, long j) {
  return {max(0, i * w.stride[0] - w.before[0]),
          min(w.size[0], (j - 1) * w.stride[0] - w.before[0] + (w.kernel[0] - 1) * w.dilation[0] + 1)};
}

// One image, `channels` numbers side by side at each position.
template <class T>
struct Sheet {
  const T* data;
  long step[3], channels;
};

// What a window holds, in order: how far in memory, and in the flat image, from its first element. Most windows hold as
// much as the one before. Along an axis, elements are so many `apart`.
struct Held {
  long *offset, *place, count = 0;
  long lengths[3] = {};

  // `room`: two numbers for each element.
  Held(long* room, long most) : offset(room), place(room + most) {}

  void hold(const Range (&ranges)[3], const long (&apart)[3], const long (&steps)[3], const long (&places)[3]) {
    bool is_known = count > 0;
    for (int axis = 0; axis < 3; axis++) {
      long length = ranges[axis].last - ranges[axis].first;
      is_known &= length == lengths[axis];
      lengths[axis] = length;
    }
    if (is_known) return;
    count = 0;
    for (long p = 0; p < lengths[0]; p++)
      for (long q = 0; q < lengths[1]; q++)
        for (long r = 0; r < lengths[2]; r++, count++) {
          offset[count] = p * apart[0] * steps[0] + q * apart[1] * steps[1] + r * apart[2] * steps[2];
          place[count] = p * apart[0] * places[0] + q * apart[1] * places[1] + r * apart[2] * places[2];
        }
  }
};

// f(c) for channels [c, c + n), the last of them twice if n does not divide their number.
template <int n, class F>
inline void along(long channels, const F& f) {
  for (long c = 0; c + n <= channels; c += n) f(c);
  if (channels % n) f(channels - n);
}

// f.template operator()<n>() for vectors of the n numbers that suit so many channels.
template <int n, class F>
inline void at_width(long channels, const F& f) {
  if constexpr (n > 1) {
    if (channels < n) return at_width<(n > 4 ? n / 2 : 1)>(channels, f);
  }
  f.template operator()<n>();
}

// body(sheet, first row, last row, y, indices, held, scratch) for bands of rows of all results, each `row` positions
// wide; needed(first, last) are the rows of x for that, and scratch is room for as many numbers.
template <class T, class Needed, class Body>
void in_bands(const Images<T>& x, const long (&size)[3], const long (&out)[3], const long (&kernel)[3], T* y,
              long* indices, const Needed& needed, const Body& body) {
  long x_row = size[1] * size[2], row = out[1] * out[2], rows = out[0];
  long wide = x.is_channels_last ? x.channels : lanes<T>;
  long height = max(1, min(rows, band / max(1, row * wide))), bands = blocks(rows, height);
  long most = 0;  // rows of x that a band needs
  for (long i = 0; i < rows; i += height) {
    Range seen = needed(i, min(i + height, rows));
    most = max(most, seen.last - seen.first);
  }
  size_t tile = blocks(most * x_row * wide, lanes<T>) * vector_bytes, result = height * row * wide;
  long planes = x.batch * x.channels, sheets = x.is_channels_last ? x.batch : blocks(planes, wide);
  long most_held = min(kernel[0], size[0]) * min(kernel[1], size[1]) * min(kernel[2], size[2]);
  size_t room = blocks(2 * most_held * sizeof(long), vector_bytes) * vector_bytes;
  size_t bytes = room + tile + (x.is_channels_last ? 0 : tile + result * (sizeof(T) + sizeof(long)));
  auto task = [&](long task, char* scratch) {
    Held held(reinterpret_cast<long*>(scratch), most_held);
    scratch += room;
    long sheet = task / bands, first = task % bands * height, last = min(first + height, rows);
    Range seen = needed(first, last);
    if (x.is_channels_last) {
      long at = (sheet * rows + first) * row * wide;
      body(Sheet<T>{x.data + sheet * x.apart, {x.step[0], x.step[1], x.step[2]}, wide}, first, last, y + at,
           indices ? indices + at : nullptr, held, scratch);
      return;
    }
    T* from = reinterpret_cast<T*>(scratch + tile);
    long* where = reinterpret_cast<long*>(scratch + 2 * tile);
    T* to = reinterpret_cast<T*>(where + result);
    long count = min(wide, planes - sheet * wide), area = size[0] * x_row;
    turn(from, wide, x.data + sheet * wide * area + seen.first * x_row, area, count, (seen.last - seen.first) * x_row);
    body(Sheet<T>{from - seen.first * x_row * wide, {x_row * wide, size[2] * wide, wide}, wide}, first, last, to, where,
         held, scratch);
    long at = sheet * wide * rows * row + first * row;
    turn(y + at, rows * row, to, wide, (last - first) * row, count);
    if (indices) turn(indices + at, rows * row, where, wide, (last - first) * row, count);
  };
  if (planes * max(rows * row, size[0] * x_row) > small) return parallel(sheets * bands, bytes, task);
  char* scratch = workspace(bytes);
  for (long i = 0; i < sheets * bands; i++) task(i, scratch);
}

// ---------------------------------------------------------------------------------- the largest
template <class T>
struct MaskOf {
  using type = int;
};
template <>
struct MaskOf<double> {
  using type = long;
};

template <int n, class T>
void largest(const Windows& w, const Sheet<T>& x, long first, long last, T* y, long* indices, Held& held) {
  using Place = typename MaskOf<T>::type;
  using Places = Vector<Place, n>;
  const long places[] = {w.size[1] * w.size[2], w.size[2], 1};
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.out[1]; j++)
      for (long k = 0; k < w.out[2]; k++, y += x.channels, indices += x.channels) {
        const Range ranges[] = {taps(w, 0, i), taps(w, 1, j), taps(w, 2, k)};
        const long outputs[] = {i, j, k};
        long to_corner = 0, place_of_corner = 0;
        for (int axis = 0; axis < 3; axis++) {
          long at = outputs[axis] * w.stride[axis] - w.before[axis] + ranges[axis].first * w.dilation[axis];
          to_corner += at * x.step[axis], place_of_corner += at * places[axis];
        }
        held.hold(ranges, w.dilation, x.step, places);
        const T* corner = x.data + to_corner;
        long count = held.count;
        along<n>(x.channels, [&](long channel) {
          Vector<T, n> best = Vector<T, n>{} - __builtin_inff();
          Places found{};
          for (long t = 0; t < count; t++) {
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
  in_bands(m.x, w.size, w.out, w.kernel, m.y, m.indices, [&](long i, long j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, long first, long last, T* y, long* indices, Held& held, char*) {
             at_width<lanes<T>>(x.channels, [&]<int n>() { largest<n>(w, x, first, last, y, indices, held); });
           });
}

// Channels [first, last) of one image. x is cleared as far as the indices seen so far reach, and no farther: so it is
// still in a cache when g arrives.
template <class T>
bool scatter(const T* g, const long* indices, T* x, long positions, long area, long wide, long first, long last) {
  long cleared = 0, chunk = max(1, 1024 / (last - first));
  for (long i = 0; i < positions; i += chunk) {
    long end = min(i + chunk, positions), reach = area;
    if (end < positions) {
      unsigned long top = 0;  // negative ones are larger than any
      for (long p = i; p < end; p++)
        for (long c = first; c < last; c++) {
          unsigned long index = indices[p * wide + c];
          top = index > top ? index : top;
        }
      reach = top < static_cast<unsigned long>(area) ? top + 1 : area;
    }
    if (last - first == wide) {
      for (long j = cleared * wide; j < reach * wide; j++) x[j] = 0;
    } else {
      for (long j = cleared; j < reach; j++)
        for (long c = first; c < last; c++) x[j * wide + c] = 0;
    }
    cleared = max(cleared, reach);
    for (long p = i; p < end; p++)
      for (long c = first; c < last; c++) {
        unsigned long index = indices[p * wide + c];
        if (index >= static_cast<unsigned long>(area)) return false;
        T& to = x[index * wide + c];
        to = one_nan(to + g[p * wide + c]);
      }
  }
  return true;
}

template <class T>
bool backward(const MaxPoolBackward<T>& m) {
  const Images<T>& g = m.g;
  long wide = g.is_channels_last ? g.channels : 1, sheets = g.batch * g.channels / wide;
  long shares = g.is_channels_last && sheets < 2 * threads() ? blocks(wide, 16) : 1;
  long group = max(1, band / max(1, m.area * wide / shares)), tasks = blocks(sheets, group);
  bool is_outside = false;
  auto task = [&](long task, char*) {
    long share = task % shares;
    for (long sheet = task / shares * group; sheet < min((task / shares + 1) * group, sheets); sheet++) {
      long at = sheet * m.positions * wide;
      if (!scatter(g.data + at, m.indices + at, m.x + sheet * m.area * wide, m.positions, m.area, wide,
                   share * wide / shares, (share + 1) * wide / shares))
        __atomic_store_n(&is_outside, true, __ATOMIC_RELAXED);
    }
  };
  if (sheets * wide * (m.area + m.positions) > small) {
    parallel(tasks * shares, 0, task);
  } else {
    for (long i = 0; i < tasks * shares; i++) task(i, nullptr);
  }
  return !is_outside;
}

// ---------------------------------------------------------------------------------- the average
double count_at(const Counts& counts, long i, long j, long k) {
  return counts.data[i * counts.step[0] + j * counts.step[1] + k * counts.step[2]];
}

// s / count of float64, by a multiplication where that is the same.
struct Divide {
  double count, inverse;
  bool is_power_of_two;

  explicit Divide(double count) : count(count), inverse(1 / count) {
    long bits = __builtin_bit_cast(long, count);
    is_power_of_two = !(bits & ((1L << 52) - 1)) && count < 0x1p60;
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
  for (long t = 0; t < held.count; t++) {
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
void average(const AvgPool<T>& m, const Sheet<T>& x, long first, long last, T* y, Held& held) {
  const Windows& w = m.windows;
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.out[1]; j++)
      for (long k = 0; k < w.out[2]; k++, y += x.channels) {
        const Range ranges[] = {taps(w, 0, i), taps(w, 1, j), taps(w, 2, k)};
        const long outputs[] = {i, j, k};
        const T* corner = x.data;
        for (int axis = 0; axis < 3; axis++)
          corner += (outputs[axis] * w.stride[axis] - w.before[axis] + ranges[axis].first) * x.step[axis];
        held.hold(ranges, w.dilation, x.step, x.step);
        Divide divided(count_at(m.counts, i, j, k));
        along<n>(x.channels, [&](long channel) {
          auto y_here = divided(sum_of<n>(held, corner + channel));
          store(y + channel, one_nan(__builtin_convertvector(y_here, Vector<T, n>)));
        });
      }
}

template <class T>
void forward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.size, w.out, w.kernel, m.to, nullptr, [&](long i, long j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, long first, long last, T* y, long*, Held& held, char*) {
             at_width<lanes<double>>(x.channels, [&]<int n>() { average<n>(m, x, first, last, y, held); });
           });
}

// quotients[o] = g[o] / count, for the rows of outputs in `seen`.
template <int n, class T>
void divide(const AvgPool<T>& m, const Sheet<T>& g, Range seen, T* quotients) {
  const Windows& w = m.windows;
  for (long i = seen.first; i < seen.last; i++)
    for (long j = 0; j < w.out[1]; j++)
      for (long k = 0; k < w.out[2]; k++, quotients += g.channels) {
        const T* from = g.data + i * g.step[0] + j * g.step[1] + k * g.step[2];
        T count = count_at(m.counts, i, j, k);
        along<n>(g.channels, [&](long c) { store(quotients + c, load<Vector<T, n>>(from + c) / count); });
      }
}

template <int n, class T>
void spread(const Windows& w, const T* quotients, long channels, Range seen, long first, long last, T* x, Held& held) {
  const long steps[] = {w.out[1] * w.out[2] * channels, w.out[2] * channels, channels};
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.size[1]; j++) {
      Range ranges[] = {outputs(w, 0, i, i + 1), outputs(w, 1, j, j + 1), {0, 0}};
      for (long k = 0; k < w.size[2]; k++, x += channels) {
        advance(w, 2, k, ranges[2]);
        const T* from = quotients - seen.first * steps[0];
        for (int axis = 0; axis < 3; axis++) from += ranges[axis].first * steps[axis];
        held.hold(ranges, w.dilation, steps, steps);
        along<n>(channels, [&](long channel) {
          auto s = sum_of<n>(held, from + channel);
          store(x + channel, one_nan(__builtin_convertvector(s, Vector<T, n>)));
        });
      }
    }
}

template <class T>
void backward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.out, w.size, w.kernel, m.to, nullptr, [&](long i, long j) { return outputs(w, 0, i, j); },
           [&](const Sheet<T>& g, long first, long last, T* x, long*, Held& held, char* scratch) {
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

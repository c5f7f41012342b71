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
  long start = o * w.stride[axis] - w.before[axis], d = w.dilation[axis];
  return {start < 0 ? blocks(-start, d) : 0, min(w.kernel[axis], blocks(w.size[axis] - start, d))};
}

// The outputs whose windows hold elements [i, j) of an axis, without dilation.
Range outputs(const Windows& w, int axis, long i, long j) {
  long first = i + w.before[axis] - w.kernel[axis] + 1;
  return {first > 0 ? blocks(first, w.stride[axis]) : 0,
          min(w.out[axis], (j - 1 + w.before[axis]) / w.stride[axis] + 1)};
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

// body(sheet, first row, last row, y, indices, scratch) for bands of rows of all results, each `row` positions wide;
// needed(first, last) are the rows of x for that, and `bytes` is how much scratch a band needs for each of them.
template <class T, class Needed, class Body>
void in_bands(const Images<T>& x, const long (&size)[3], const long (&out)[3], T* y, long* indices,
              const Needed& needed, const Body& body) {
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
  size_t bytes = tile + (x.is_channels_last ? 0 : tile + result * (sizeof(T) + sizeof(long)));
  auto task = [&](long task, char* scratch) {
    long sheet = task / bands, first = task % bands * height, last = min(first + height, rows);
    Range seen = needed(first, last);
    if (x.is_channels_last) {
      long at = (sheet * rows + first) * row * wide;
      body(Sheet<T>{x.data + sheet * x.apart, {x.step[0], x.step[1], x.step[2]}, wide}, first, last, y + at,
           indices ? indices + at : nullptr, scratch);
      return;
    }
    T* from = reinterpret_cast<T*>(scratch + tile);
    long* where = reinterpret_cast<long*>(scratch + 2 * tile);
    T* to = reinterpret_cast<T*>(where + result);
    long count = min(wide, planes - sheet * wide), area = size[0] * x_row;
    turn(from, wide, x.data + sheet * wide * area + seen.first * x_row, area, count, (seen.last - seen.first) * x_row);
    body(Sheet<T>{from - seen.first * x_row * wide, {x_row * wide, size[2] * wide, wide}, wide}, first, last, to, where,
         scratch);
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
void largest(const Windows& w, const Sheet<T>& x, long first, long last, T* y, long* indices) {
  using Places = Vector<typename MaskOf<T>::type, n>;
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.out[1]; j++)
      for (long k = 0; k < w.out[2]; k++, y += x.channels, indices += x.channels) {
        Range a = taps(w, 0, i), b = taps(w, 1, j), c = taps(w, 2, k);
        long at[] = {i * w.stride[0] - w.before[0], j * w.stride[1] - w.before[1], k * w.stride[2] - w.before[2]};
        auto place = [&](int axis, long tap) { return at[axis] + tap * w.dilation[axis]; };
        long corner = (place(0, a.first) * w.size[1] + place(1, b.first)) * w.size[2] + place(2, c.first);
        along<n>(x.channels, [&](long channel) {
          Vector<T, n> best = Vector<T, n>{} - __builtin_inff();
          Places found = Places{} + static_cast<typename MaskOf<T>::type>(corner);
          for (long p = a.first; p < a.last; p++)
            for (long q = b.first; q < b.last; q++) {
              const T* row = x.data + place(0, p) * x.step[0] + place(1, q) * x.step[1] + channel;
              long here = (place(0, p) * w.size[1] + place(1, q)) * w.size[2];
              for (long r = c.first; r < c.last; r++) {
                auto seen = load<Vector<T, n>>(row + place(2, r) * x.step[2]);
                auto is_better = ~(seen <= best) & (best == best);
                best = is_better ? seen : best;
                found = is_better ? Places{} + static_cast<typename MaskOf<T>::type>(here + place(2, r)) : found;
              }
            }
          store(y + channel, one_nan(best));
          typename MaskOf<T>::type places[n];
          store(places, found);
          for (int lane = 0; lane < n; lane++) indices[channel + lane] = places[lane];
        });
      }
}

template <class T>
void forward(const MaxPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.x, w.size, w.out, m.y, m.indices, [&](long i, long j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, long first, long last, T* y, long* indices, char*) {
             at_width<lanes<T>>(x.channels, [&]<int n>() { largest<n>(w, x, first, last, y, indices); });
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
template <class V>
inline V divided(V s, double count) {
  long bits = __builtin_bit_cast(long, count);
  bool is_power_of_two = !(bits & ((1L << 52) - 1)) && count < 0x1p60;
  return is_power_of_two ? s * (V{} + 1 / count) : s / (V{} + count);
}

template <int n, class T>
void average(const AvgPool<T>& m, const Sheet<T>& x, long first, long last, T* y) {
  const Windows& w = m.windows;
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.out[1]; j++)
      for (long k = 0; k < w.out[2]; k++, y += x.channels) {
        Range a = taps(w, 0, i), b = taps(w, 1, j), c = taps(w, 2, k);
        const T* corner = x.data + (i * w.stride[0] - w.before[0]) * x.step[0] +
                          (j * w.stride[1] - w.before[1]) * x.step[1] + (k * w.stride[2] - w.before[2]) * x.step[2];
        double count = count_at(m.counts, i, j, k);
        along<n>(x.channels, [&](long channel) {
          Vector<double, n> s = {};
          for (long p = a.first; p < a.last; p++)
            for (long q = b.first; q < b.last; q++)
              for (long r = c.first; r < c.last; r++) {
                const T* tap = corner + p * x.step[0] + q * x.step[1] + r * x.step[2] + channel;
                s = s + __builtin_convertvector(load<Vector<T, n>>(tap), Vector<double, n>);
              }
          store(y + channel, one_nan(__builtin_convertvector(divided(s, count), Vector<T, n>)));
        });
      }
}

template <class T>
void forward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.size, w.out, m.to, nullptr, [&](long i, long j) { return rows_seen(w, i, j); },
           [&](const Sheet<T>& x, long first, long last, T* y, long*, char*) {
             at_width<lanes<double>>(x.channels, [&]<int n>() { average<n>(m, x, first, last, y); });
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
void spread(const Windows& w, const T* quotients, long channels, Range seen, long first, long last, T* x) {
  for (long i = first; i < last; i++)
    for (long j = 0; j < w.size[1]; j++)
      for (long k = 0; k < w.size[2]; k++, x += channels) {
        Range a = outputs(w, 0, i, i + 1), b = outputs(w, 1, j, j + 1), c = outputs(w, 2, k, k + 1);
        along<n>(channels, [&](long channel) {
          Vector<double, n> s = {};
          for (long p = a.first; p < a.last; p++)
            for (long q = b.first; q < b.last; q++)
              for (long r = c.first; r < c.last; r++) {
                const T* from = quotients + (((p - seen.first) * w.out[1] + q) * w.out[2] + r) * channels + channel;
                s = s + __builtin_convertvector(load<Vector<T, n>>(from), Vector<double, n>);
              }
          store(x + channel, one_nan(__builtin_convertvector(s, Vector<T, n>)));
        });
      }
}

template <class T>
void backward(const AvgPool<T>& m) {
  const Windows& w = m.windows;
  in_bands(m.from, w.out, w.size, m.to, nullptr, [&](long i, long j) { return outputs(w, 0, i, j); },
           [&](const Sheet<T>& g, long first, long last, T* x, long*, char* scratch) {
             T* quotients = reinterpret_cast<T*>(scratch);
             Range seen = outputs(w, 0, first, last);
             at_width<lanes<T>>(g.channels, [&]<int n>() { divide<n>(m, g, seen, quotients); });
             at_width<lanes<double>>(g.channels, [&]<int n>() {
               spread<n>(w, quotients, g.channels, seen, first, last, x);
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

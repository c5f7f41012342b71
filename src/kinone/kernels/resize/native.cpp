// Along one axis:   y[j] = Σ weight·x[element] over the taps of output j, in order: s = the first product, then
//                   s = fma(weight, x, s), in the type of x; +0 without taps.
//
//   for images and rows of y:  the row of x that it is made of, by the taps of the rows     (in scratch)
//                              for columns of y:  by the taps of the columns
//
// Vectors run along what lies side by side, be it channels or, before the columns, a whole row. Where a column is one
// number, as many planes as a vector is wide are resized together, their rows turned into columns and back.
#include "native.hpp"

#include "../native/layout.hpp"
#include "../native/pool.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index share = 1 << 14;  // numbers of y that a task has, roughly


// y[i] = output j of the line through x[· step + i], i < count
template <class T>
void weigh(const Line<T>& line, Index j, const T* x, Index step, T* y, Index count) {
  constexpr int n = lanes<T>;
  Index first = line.begin[j], last = line.begin[j + 1], i = 0;
  x += first < last ? line.elements[first] * step : 0;
  bool is_copy = first + 1 == last && line.weights[first] == 1;
  for (; is_copy && i + n <= count; i += n) store(y + i, one_nan(load<Vector<T>>(x + i)));
  for (; i + n <= count; i += n) {
    Vector<T> s = {};
    if (first < last) s = line.weights[first] * load<Vector<T>>(x + i);
    for (Index tap = first + 1; tap < last; tap++)
      s = fma(broadcast(line.weights[tap]), load<Vector<T>>(x + i + (line.elements[tap] - line.elements[first]) * step), s);
    store(y + i, one_nan(s));
  }
  for (; i < count; i++) {
    T s = first < last ? line.weights[first] * x[i] : 0;
    for (Index tap = first + 1; tap < last; tap++)
      s = fma(line.weights[tap], x[i + (line.elements[tap] - line.elements[first]) * step], s);
    y[i] = one_nan(s);
  }
}

template <class T>
void both(const Resize<T>& r) {
  bool is_by_plane = r.has_columns && r.inner == 1;
  Index wide = is_by_plane ? lanes<T> : 1, from = r.columns.n * r.inner, to = r.columns.m * r.inner;
  Index height = min(r.rows.m, share / (to * wide) + 1), bands = blocks(r.rows.m, height);
  size_t bytes = (2 * from + to) * wide * sizeof(T);
  parallel(blocks(r.outer, wide) * bands, bytes, [&](Index task, char* scratch) {
    T* row = reinterpret_cast<T*>(scratch);
    T *turned = row + from * wide, *result = turned + from * wide;
    Index image = task / bands * wide, count = min(wide, r.outer - image), first = task % bands * height;
    const T* x = r.x + image * r.rows.n * from;
    T* y = r.y + image * r.rows.m * to;
    for (Index j = first; j < min(first + height, r.rows.m); j++) {
      if (!r.has_columns) {
        weigh(r.rows, j, x, from, y + j * to, to);
        continue;
      }
      for (Index i = 0; i < count; i++) weigh(r.rows, j, x + i * r.rows.n * from, from, row + i * from, from);
      if (!is_by_plane) {
        for (Index k = 0; k < r.columns.m; k++) weigh(r.columns, k, row, r.inner, y + j * to + k * r.inner, r.inner);
        continue;
      }
      transposed(turned, 0, wide, from, row, from, count, from);
      for (Index k = 0; k < to; k++) weigh(r.columns, k, turned, wide, result + k * wide, wide);
      transposed(y + j * to, 0, r.rows.m * to, count, result, wide, to, count);
    }
  });
}

}  // namespace

void resize(const Resize<float>& r) { both(r); }
void resize(const Resize<double>& r) { both(r); }

}  // namespace kinone::KINONE_ISA

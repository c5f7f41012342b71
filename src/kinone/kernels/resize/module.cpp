// resize, as Python calls it: forward and backward are one kernel, backward with the taps gathered by element.
#include <nanobind/stl/vector.h>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// The taps of each output of an axis, in order.
struct Taps {
  std::vector<Index> begin, elements;
  std::vector<double> weights;
};

// line = (indices (out, taps), weights or None); false if it is of another form.
bool read(nb::handle line, Index n, Taps& taps) {
  nb::object indices_object = line[0], weights_object = line[1];
  Array indices = contiguous(indices_object, Array(indices_object));
  bool is_nearest = weights_object.is_none();
  if (indices.type != 'q' || indices.axes() != 2) return false;
  Index out = indices.length(0), each = indices.length(1);
  taps.begin = {0};
  taps.elements.assign(indices.data<Index>(), indices.data<Index>() + indices.size());
  taps.weights.assign(indices.size(), 1);
  for (Index i = 1; i <= out; i++) taps.begin.push_back(i * each);
  for (Index element : taps.elements)
    if (element < 0 || element >= n) return false;
  if (is_nearest) return each == 1;
  Array weights = contiguous(weights_object, Array(weights_object));
  if (weights.type != 'd' || weights.shape() != indices.shape()) return false;
  taps.weights.assign(weights.data<double>(), weights.data<double>() + weights.size());
  return true;
}

// For each of n elements the outputs that it is a tap of, in order.
Taps transposed(const Taps& taps, Index n) {
  Taps turned{std::vector<Index>(n + 1), std::vector<Index>(taps.elements.size()), std::vector<double>(taps.elements.size())};
  for (Index element : taps.elements) turned.begin[element + 1]++;
  for (Index i = 0; i < n; i++) turned.begin[i + 1] += turned.begin[i];
  std::vector<Index> next = turned.begin;
  for (size_t output = 0; output + 1 < taps.begin.size(); output++)
    for (Index tap = taps.begin[output]; tap < taps.begin[output + 1]; tap++) {
      Index to = next[taps.elements[tap]]++;
      turned.elements[to] = output;
      turned.weights[to] = taps.weights[tap];
    }
  return turned;
}

template <class T>
Line<T> line(const Taps& taps, Index n, std::vector<T>& weights) {
  weights.assign(taps.weights.begin(), taps.weights.end());
  return {n, static_cast<Index>(taps.begin.size()) - 1, taps.begin.data(), taps.elements.data(), weights.data()};
}

// x (an image without gaps, its channels first or last in memory) with `axis`, and if there are `columns` the axis after
// it, replaced by the outputs of their taps.
template <class T>
nb::object resized(const Array& x, int axis, const Taps& rows, const Taps* columns) {
  bool is_last = x.is_channels_last();
  Shape shape = x.shape();
  Resize<T> r{shape[0] * (is_last ? 1 : shape[1]), is_last ? shape[1] : 1, {}, {}, columns != nullptr, x.data<T>(), nullptr};
  std::vector<T> row_weights, column_weights;
  r.rows = line(rows, shape[axis], row_weights);
  r.columns.n = r.columns.m = 1;
  if (columns) r.columns = line(*columns, shape[axis + 1], column_weights);
  for (int i = 2; i < axis; i++) r.outer *= shape[i];
  for (int i = axis + (columns ? 2 : 1); i < x.axes(); i++) r.inner *= shape[i];
  shape[axis] = r.rows.m;
  if (columns) shape[axis + 1] = r.columns.m;
  nb::object result = empty("resize", shape, x.type, is_last ? channels_last(x.axes()) : Shape{});
  Array y(result);
  r.y = y.data<T>();
  if (y.size()) compute("resize", 4. * y.size(), [&] { KINONE_CALL(resize(r)); });
  return result;
}

nb::object resize(nb::handle x_object, nb::handle lines, const std::vector<Index>* size) {
  Array given(x_object);
  int axes = given.axes() - 2;
  if (!given.is_floating() || axes < 1 || static_cast<int>(nb::len(lines)) != axes) return left_to_reference();
  char type = given.type;
  std::vector<Taps> taps(axes);
  for (int axis = 0; axis < axes; axis++) {
    Index n = size ? size->at(axis) : given.length(axis + 2);
    if (!read(lines[axis], n, taps[axis])) return left_to_reference();
    if (size && given.length(axis + 2) + 1 != static_cast<Index>(taps[axis].begin.size())) return left_to_reference();
    if (size) taps[axis] = transposed(taps[axis], n);
  }
  Array x = computable(x_object, std::move(given));
  if (!x.is_channels_last()) x = contiguous(x_object, std::move(x));
  nb::object y;
  for (int axis = 0; axis < axes; axis += 1 + (axis == axes - 2)) {  // the last two at once
    const Taps* columns = axis == axes - 2 ? &taps[axis + 1] : nullptr;
    y = x.type == 'f' ? resized<float>(x, axis + 2, taps[axis], columns) : resized<double>(x, axis + 2, taps[axis], columns);
    x = Array(y);
  }
  return as_type(y, type);
}

nb::object resize_forward(nb::handle x, nb::handle lines) { return resize(x, lines, nullptr); }

nb::object resize_backward(nb::handle g, nb::handle lines, const std::vector<Index>& size) {
  return static_cast<int>(size.size()) == Array(g).axes() - 2 ? resize(g, lines, &size) : left_to_reference();
}

}  // namespace

void add_resize(nb::module_& m) {
  m.def("resize_forward", resize_forward, nb::arg("x").none(), nb::arg("lines"));
  m.def("resize_backward", resize_backward, nb::arg("g").none(), nb::arg("lines"), nb::arg("size"));
}

}  // namespace kinone

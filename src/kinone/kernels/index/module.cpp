// index, as Python calls it: integers and integer arrays that follow each other, with full slices around them; every
// other index is left to the reference.
#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

bool is_full_slice(nb::handle part) {
  if (!PySlice_Check(part.ptr())) return false;
  auto* slice = reinterpret_cast<PySliceObject*>(part.ptr());
  return slice->start == Py_None && slice->stop == Py_None && slice->step == Py_None;
}

// The arrays of an index and the first axis that they pick from; false if there is none, or something else.
bool read(nb::handle index, int axes, std::vector<Array>& arrays, int& first) {
  nb::tuple parts = PyTuple_Check(index.ptr()) ? nb::borrow<nb::tuple>(index) : nb::make_tuple(index);
  int axis = 0;
  for (nb::handle part : parts) {
    if (part.ptr() == Py_Ellipsis) {
      axis += axes - static_cast<int>(parts.size()) + 1;
      continue;
    }
    if (!is_full_slice(part)) {
      Array array(part);
      if (array.type != 'q') return false;
      if (arrays.empty()) first = axis;
      if (axis != first + static_cast<int>(arrays.size())) return false;
      arrays.push_back(computable(part, std::move(array)));
    }
    axis++;
  }
  return !arrays.empty() && axis <= axes;
}

// The shape to which they broadcast; false if they don't.
bool broadcast(const std::vector<Array>& arrays, Shape& shape) {
  for (const Array& array : arrays) {
    if (array.axes() > static_cast<int>(shape.size())) shape.insert(shape.begin(), array.axes() - shape.size(), 1);
    for (int axis = 1; axis <= array.axes(); axis++) {
      Py_ssize_t &common = shape[shape.size() - axis], length = array.length(array.axes() - axis);
      if (length != 1 && common != 1 && length != common) return false;
      if (length != 1) common = length;
    }
  }
  return true;
}

// places[…] = places[…]·length + array[…], broadcast to the shape; false if an index lies outside.
bool add_places(const Array& array, const Shape& shape, Index length, std::vector<Index>& places) {
  Index last = shape.empty() ? 1 : shape.back();
  int lead = shape.size() - array.axes();
  auto step = [&](int axis) { return axis < lead || array.length(axis - lead) == 1 ? 0 : array.stride(axis - lead); };
  Index inner = shape.empty() ? 0 : step(shape.size() - 1);
  for (size_t at = 0; at < places.size(); at += last) {
    const Index* row = array.data<Index>();
    Index rest = at / last;
    for (int axis = static_cast<int>(shape.size()) - 2; axis >= 0; rest /= shape[axis--])
      row += rest % shape[axis] * step(axis);
    for (Index i = 0; i < last; i++) {
      Index index = row[i * inner];
      if (index < -length || index >= length) return false;
      places[at + i] = places[at + i] * length + (index < 0 ? index + length : index);
    }
  }
  return true;
}

nb::object scatter_index(nb::handle x_object, nb::handle index, nb::handle shape_object) {
  Array given(x_object);
  if (!given.is_floating()) return left_to_reference();
  char type = given.type;
  Shape shape, picked;
  for (nb::handle length : shape_object) shape.push_back(nb::cast<Py_ssize_t>(length));
  int axes = shape.size(), first = 0;
  std::vector<Array> arrays;
  if (!read(index, axes, arrays, first) || !broadcast(arrays, picked)) return left_to_reference();
  int end = first + arrays.size();
  Shape expected(shape.begin(), shape.begin() + first);
  expected.insert(expected.end(), picked.begin(), picked.end());
  expected.insert(expected.end(), shape.begin() + end, shape.end());
  if (given.shape() != expected) return left_to_reference();

  auto product = [](auto from, auto to) {
    Index size = 1;
    for (; from != to; ++from) size *= *from;
    return size;
  };
  std::vector<Index> places(product(picked.begin(), picked.end()));
  for (size_t i = 0; i < arrays.size(); i++)
    if (!add_places(arrays[i], picked, shape[first + i], places)) return left_to_reference();
  Array x = contiguous(x_object, computable(x_object, std::move(given)));
  nb::object result = empty("scatter_index", shape, x.type);
  Array y(result);
  auto run = [&]<class T>(T) {
    Scatter<T> s{product(shape.begin(), shape.begin() + first), static_cast<Index>(places.size()),
                 product(shape.begin() + first, shape.begin() + end), product(shape.begin() + end, shape.end()),
                 places.data(), x.data<T>(), y.data<T>()};
    compute("scatter_index", static_cast<double>(x.size()) + y.size(), [&] { KINONE_CALL(scatter(s)); });
  };
  if (y.size()) x.type == 'f' ? run(0.0f) : run(0.0);
  return as_type(result, type);
}

}  // namespace

void add_index(nb::module_& m) {
  m.def("scatter_index", scatter_index, nb::arg("x").none(), nb::arg("index").none(), nb::arg("shape"));
}

}  // namespace kinone

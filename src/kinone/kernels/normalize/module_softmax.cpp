// softmax_forward(x, axis) and its relatives, as Python calls them.
#include "../native/array.hpp"
#include "module_softmax.hpp"

namespace kinone {

Rows rows_along(int axis, std::initializer_list<const Array*> arrays) {
  const Array& first = **arrays.begin();
  Rows rows;
  rows.n = first.length(axis);
  auto stride = [&](const Array& array, int of) {
    bool has_axis = array.axes() == first.axes();
    return of == axis ? has_axis ? array.stride(of) : 0 : array.stride(of - (!has_axis && of > axis));
  };
  int count = 0;
  for (const Array* array : arrays) {
    rows.of[count].data = array->data<void>();
    rows.of[count++].step = stride(*array, axis);
  }
  for (Index of : first.order()) {  // as they lie in memory
    if (of == axis || first.length(of) == 1) continue;
    int k = 0;
    bool goes_on = rows.axes > 0;  // whether each row of this axis follows the one before it as on the last axis
    for (const Array* array : arrays)
      goes_on = goes_on && rows.of[k++].strides[rows.axes - 1] == stride(*array, of) * first.length(of);
    rows.axes += !goes_on;
    rows.shape[rows.axes - 1] = first.length(of) * (goes_on ? rows.shape[rows.axes - 1] : 1);
    k = 0;
    for (const Array* array : arrays) rows.of[k++].strides[rows.axes - 1] = stride(*array, of);
  }
  return rows;
}

namespace {

bool has_axis(const Array& x, int axis) { return x.is_floating() && axis >= -x.axes() && axis < x.axes(); }

template <bool IS_LOG>
nb::object forward(nb::handle x_object, int axis) {
  const char* where = IS_LOG ? "log_softmax" : "softmax";
  Array x_given(x_object);
  if (!has_axis(x_given, axis)) return left_to_reference();
  char type = x_given.type;
  Array x = computable(x_object, std::move(x_given));
  nb::object result = empty_like(where, x, x.type);
  Array y(result);
  if (!y.size()) return as_type(result, type);
  Rows rows = rows_along(axis < 0 ? axis + x.axes() : axis, {&x, &y});
  compute(where, 20.0 * x.size(), [&] {
    x.type == 'f' ? KINONE_CALL(softmax_forward<float>(rows, IS_LOG))
                  : KINONE_CALL(softmax_forward<double>(rows, IS_LOG));
  });
  return as_type(result, type);
}

template <bool IS_LOG>
nb::object backward(nb::handle g_object, nb::handle y_object, int axis) {
  const char* where = IS_LOG ? "log_softmax_backward" : "softmax_backward";
  Array g_given(g_object), y_given(y_object);
  if (!has_axis(y_given, axis) || g_given.type != y_given.type || g_given.shape() != y_given.shape())
    return left_to_reference();
  char type = y_given.type;
  Array g = computable(g_object, std::move(g_given)), y = computable(y_object, std::move(y_given));
  nb::object result = empty_like(where, y, y.type);
  Array gx(result);
  if (!gx.size()) return as_type(result, type);
  Rows rows = rows_along(axis < 0 ? axis + y.axes() : axis, {&g, &y, &gx});
  compute(where, (IS_LOG ? 20.0 : 4.0) * y.size(), [&] {
    y.type == 'f' ? KINONE_CALL(softmax_backward<float>(rows, IS_LOG))
                  : KINONE_CALL(softmax_backward<double>(rows, IS_LOG));
  });
  return as_type(result, type);
}

}  // namespace

void add_softmax(nb::module_& m) {
  m.def("softmax_forward", forward<false>, nb::arg("x").none(), nb::arg("axis"));
  m.def("log_softmax_forward", forward<true>, nb::arg("x").none(), nb::arg("axis"));
  m.def("softmax_backward", backward<false>, nb::arg("g").none(), nb::arg("y").none(), nb::arg("axis"));
  m.def("log_softmax_backward", backward<true>, nb::arg("g").none(), nb::arg("y").none(), nb::arg("axis"));
}

}  // namespace kinone

// matmul(a, b) and linear(x, w, b), as Python calls them: shapes are checked and broadcast here, and NotImplemented
// leaves a call to reference.py, whose errors are the ones that users see.
#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// Leading axes along which the rows of a simply go on are rows too, if b is the same for all of them.
template <class T>
void merge_rows(Gemm<T>& g, Batch& batch) {
  while (batch.axes && batch.b[batch.axes - 1] == 0 && (g.m == 1 || batch.a[batch.axes - 1] == g.m * g.a_row)) {
    batch.axes--;
    if (g.m == 1) g.a_row = batch.a[batch.axes];
    g.m *= batch.shape[batch.axes];
  }
}

template <class T>
void compute(const char* where, Gemm<T> g, Batch batch) {
  double work = static_cast<double>(g.m) * g.n * g.k;
  for (int axis = 0; axis < batch.axes; axis++) work *= batch.shape[axis];
  if (g.y_row == g.n) merge_rows(g, batch);
  kinone::compute(where, work, [&] { KINONE_CALL(gemm(g, batch)); });
}

bool are_same_type(const Array& a, const Array& b) { return a.is_floating() && a.type == b.type; }

bool is_empty(const Shape& shape) {
  for (Py_ssize_t length : shape)
    if (!length) return true;
  return false;
}

template <class T>
void multiply(const Array& a, const Array& b, const Array& y, Batch batch) {
  bool is_row = a.axes() == 1, is_column = b.axes() == 1;
  Index m = is_row ? 1 : a.length(-2), n = is_column ? 1 : b.length(-1), k = a.length(-1);
  compute<T>("matmul", {m, n, k,
                        a.data<T>(), is_row ? 0 : a.stride(-2), a.stride(-1),
                        b.data<T>(), b.stride(is_column ? -1 : -2), is_column ? 0 : b.stride(-1),
                        y.data<T>(), n, 1, nullptr, 0, 0}, batch);
}

nb::object matmul(nb::handle a_object, nb::handle b_object) {
  Array a_given(a_object), b_given(b_object);
  if (!are_same_type(a_given, b_given) || !a_given.axes() || !b_given.axes()) return left_to_reference();
  char type = a_given.type;
  Array a = computable(a_object, std::move(a_given)), b = computable(b_object, std::move(b_given));
  bool is_row = a.axes() == 1, is_column = b.axes() == 1;
  if (a.length(-1) != b.length(is_column ? -1 : -2)) return left_to_reference();

  Batch batch;
  Shape shape;
  int a_axes = a.axes() - (is_row ? 1 : 2), b_axes = b.axes() - (is_column ? 1 : 2);
  batch.axes = a_axes > b_axes ? a_axes : b_axes;
  for (int i = 0; i < batch.axes; i++) {
    int in_a = i - batch.axes + a_axes, in_b = i - batch.axes + b_axes;
    Index a_length = in_a < 0 ? 1 : a.length(in_a), b_length = in_b < 0 ? 1 : b.length(in_b);
    if (a_length != b_length && a_length != 1 && b_length != 1) return left_to_reference();
    batch.shape[i] = a_length == 1 ? b_length : a_length;
    batch.a[i] = a_length == 1 ? 0 : a.stride(in_a);
    batch.b[i] = b_length == 1 ? 0 : b.stride(in_b);
    shape.push_back(batch.shape[i]);
  }
  if (!is_row) shape.push_back(a.length(-2));
  if (!is_column) shape.push_back(b.length(-1));
  nb::object result = empty("matmul", shape, a.type);
  if (is_empty(shape)) return as_type(result, type);

  Array y(result);
  for (int i = 0; i < batch.axes; i++) batch.y[i] = y.stride(i);
  a.type == 'f' ? multiply<float>(a, b, y, batch) : multiply<double>(a, b, y, batch);
  return as_type(result, type);
}

template <class T>
void multiply(const Array& x, const Array& w, const Array* b, const Array& y) {
  Batch batch;
  batch.axes = x.axes() > 2 ? x.axes() - 2 : 0;
  for (int i = 0; i < batch.axes; i++)
    batch.shape[i] = x.length(i), batch.a[i] = x.stride(i), batch.b[i] = 0, batch.y[i] = y.stride(i);
  Index m = x.axes() == 1 ? 1 : x.length(-2), n = w.length(0);
  compute<T>("linear", {m, n, w.length(1),
                        x.data<T>(), x.axes() == 1 ? 0 : x.stride(-2), x.stride(-1),
                        w.data<T>(), w.stride(1), w.stride(0),
                        y.data<T>(), n, 1, b ? b->data<T>() : nullptr, 0, b ? b->stride(0) : 0}, batch);
}

nb::object linear(nb::handle x_object, nb::handle w_object, nb::handle b_object) {
  Array x_given(x_object), w_given(w_object);
  if (!are_same_type(x_given, w_given) || !x_given.axes() || w_given.axes() != 2) return left_to_reference();
  if (x_given.length(-1) != w_given.length(1)) return left_to_reference();
  char type = x_given.type;
  Shape shape;
  for (int axis = 0; axis < x_given.axes() - 1; axis++) shape.push_back(x_given.length(axis));
  shape.push_back(w_given.length(0));
  Array x = computable(x_object, std::move(x_given)), w = computable(w_object, std::move(w_given));

  if (b_object.is_none()) {
    nb::object result = empty("linear", shape, x.type);
    if (is_empty(shape)) return as_type(result, type);
    Array y(result);
    x.type == 'f' ? multiply<float>(x, w, nullptr, y) : multiply<double>(x, w, nullptr, y);
    return as_type(result, type);
  }
  Array b_given(b_object);
  if (b_given.type != type || b_given.axes() != 1 || b_given.length(0) != w.length(0)) return left_to_reference();
  Array b = computable(b_object, std::move(b_given));
  nb::object result = empty("linear", shape, x.type);
  if (is_empty(shape)) return as_type(result, type);
  Array y(result);
  x.type == 'f' ? multiply<float>(x, w, &b, y) : multiply<double>(x, w, &b, y);
  return as_type(result, type);
}

}  // namespace

void add_gemm(nb::module_& m) {
  m.def("matmul", matmul, nb::arg("a").none(), nb::arg("b").none());
  m.def("linear", linear, nb::arg("x").none(), nb::arg("w").none(), nb::arg("b").none());
}

}  // namespace kinone

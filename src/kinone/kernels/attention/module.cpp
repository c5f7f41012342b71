// attention_forward(q, k, v, mask, …) and its gradients, as Python calls them.
#include <algorithm>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// The matrices of an array (…, rows, columns), or the rows of an array (…, rows), broadcast to a batch.
template <class T>
Matrices<T> matrices(const Array& x, int batch_axes, bool has_columns = true) {
  auto step = [&](int from_the_end) {
    int axis = x.axes() - from_the_end;
    return axis < 0 || x.length(axis) == 1 ? 0 : x.stride(axis);
  };
  Matrices<T> m;
  m.data = x.data<T>();
  m.row = step(1 + has_columns), m.column = has_columns ? step(1) : 0;
  for (int i = 0; i < batch_axes; i++) m.steps[i] = step(1 + has_columns + batch_axes - i);
  return m;
}

// Whether `shape` can be broadcast to `to`, counted from the end.
bool fits(const Array& x, const Shape& to) {
  int before = static_cast<int>(to.size()) - x.axes();
  for (int axis = 0; axis < x.axes() && before >= 0; axis++)
    if (x.length(axis) != 1 && x.length(axis) != to[before + axis]) return false;
  return before >= 0;
}

// A new array of that shape that lies as x does, the numbers of a row side by side.
nb::object lying_like(const char* where, const Array& x, const Shape& shape) {
  Shape order = x.order();
  bool is_like = order.size() == shape.size() && order.back() + 1 == x.axes();
  return empty(where, shape, x.type, is_like ? order : Shape{});
}

// What all three kernels are given: q, k, v and the mask, and the shapes that follow.
struct Given {
  Array q, k, v, mask;
  char type;
  bool has_mask, is_served = false;
  Shape batch;

  Given(nb::handle q_object, nb::handle k_object, nb::handle v_object, nb::handle mask_object)
      : q(q_object), k(k_object), v(v_object), mask(mask_object), type(q.type), has_mask(!mask_object.is_none()) {
    bool is_mask = !has_mask || mask.type == '?' || mask.type == type;
    if (!q.is_floating() || k.type != type || v.type != type || !is_mask) return;
    if (q.axes() < 2 || k.axes() < 2 || v.axes() < 2) return;
    if (q.length(-1) != k.length(-1) || k.length(-2) != v.length(-2)) return;
    int axes = std::max({q.axes(), k.axes(), v.axes()}) - 2;
    if (axes > Matrices<float>::most_axes) return;
    batch.assign(axes, 1);
    for (const Array* x : {&q, &k, &v})
      for (int axis = 0; axis < x->axes() - 2; axis++) {
        Py_ssize_t& length = batch[axes - x->axes() + 2 + axis];
        if (length == 1) length = x->length(axis);
      }
    for (const Array* x : {&q, &k, &v})
      if (!fits(*x, shape(x->length(-2), x->length(-1)))) return;
    if (has_mask && !fits(mask, shape(queries(), keys()))) return;
    q = computable(q_object, std::move(q)), k = computable(k_object, std::move(k));
    v = computable(v_object, std::move(v));
    if (has_mask) mask = computable(mask_object, std::move(mask));
    is_served = true;
  }

  Index queries() const { return q.length(-2); }
  Index keys() const { return k.length(-2); }
  Shape shape(Index rows, Index columns = -1) const {
    Shape shape = batch;
    shape.push_back(rows);
    if (columns >= 0) shape.push_back(columns);
    return shape;
  }
  template <class T>
  Matrices<T> of(const Array& x, bool has_columns = true) const {
    return matrices<T>(x, batch.size(), has_columns);
  }

  template <class T>
  Attention<T> attention(bool is_causal, double scale, double p, nb::handle key) const {
    Attention<T> a;
    if ((a.p = p) != 0) {
      auto number = [](nb::handle x) { return nb::cast<Size>(nb::int_(x)); };
      nb::object words = key[0];
      for (int i : {0, 1}) a.draw.key[i] = number(words[i]);
      a.draw.step = number(key[1]);
    }
    a.axes = batch.size();
    std::copy(batch.begin(), batch.end(), a.shape);
    a.queries = queries(), a.keys = keys(), a.d = q.length(-1), a.e = v.length(-1);
    a.is_causal = is_causal, a.scale = static_cast<T>(scale);
    a.q = of<T>(q), a.k = of<T>(k), a.v = of<T>(v);
    if (has_mask && mask.type == '?') a.seen = of<bool>(mask);
    if (has_mask && mask.type != '?') a.added = of<T>(mask);
    return a;
  }

  template <class T>
  double work(const Attention<T>& a) const {
    return 2.0 * a.count() * a.queries * a.keys * (a.d + a.e);
  }
};

template <class T>
void forward(const Given& given, const Array& y, const Array& lse, bool is_causal, double scale, double p,
             nb::handle key) {
  auto a = given.attention<T>(is_causal, scale, p, key);
  a.y = given.of<T>(y), a.lse = given.of<T>(lse, false);
  compute("attention", given.work(a), [&] { KINONE_CALL(attention_forward(a)); });
}

nb::object attention_forward(nb::handle q, nb::handle k, nb::handle v, nb::handle mask, bool is_causal, double scale,
                             double p, nb::handle key) {
  Given given(q, k, v, mask);
  if (!given.is_served) return left_to_reference();
  nb::object y = lying_like("attention", given.q, given.shape(given.queries(), given.v.length(-1)));
  nb::object lse = empty("attention", given.shape(given.queries()), given.q.type);
  if (Array(lse).size())
    (given.q.type == 'f' ? forward<float> : forward<double>)(given, Array(y), Array(lse), is_causal, scale, p, key);
  return nb::make_tuple(as_type(y, given.type), as_type(lse, given.type));
}

template <class T>
void backward(const Given& given, const Array (&inputs)[3], const std::vector<Array>& results, bool is_causal,
              double scale, double p, nb::handle key) {
  auto a = given.attention<T>(is_causal, scale, p, key);
  a.g = given.of<T>(inputs[0]), a.g_lse = given.of<T>(inputs[1], false), a.y = given.of<T>(inputs[2]);
  if (results.size() == 1)
    a.g_mask = given.of<T>(results[0]);
  else
    a.gq = given.of<T>(results[0]), a.gk = given.of<T>(results[1]), a.gv = given.of<T>(results[2]);
  compute("attention", 2.5 * given.work(a), [&] { KINONE_CALL(attention_backward(a)); });
}

template <bool OF_MASK>
nb::object backward(nb::handle g, nb::handle g_lse, nb::handle q, nb::handle k, nb::handle v, nb::handle mask,
                    nb::handle y, nb::handle, bool is_causal, double scale, double p, nb::handle key) {
  Given given(q, k, v, mask);
  if (!given.is_served) return left_to_reference();
  Array inputs[] = {Array(g), Array(g_lse), Array(y)};
  Shape y_shape = given.shape(given.queries(), given.v.length(-1));
  bool are_right = inputs[0].shape() == y_shape && inputs[1].shape() == given.shape(given.queries()) &&
                   inputs[2].shape() == y_shape;
  for (const Array& x : inputs) are_right = are_right && x.type == given.type;
  if (!are_right) return left_to_reference();
  nb::handle objects[] = {g, g_lse, y};
  for (int i : {0, 1, 2}) {  // rows of g and of y are gone through number by number
    bool is_ready = i == 1 || inputs[i].length(-1) < 2 || inputs[i].stride(-1) == 1;
    inputs[i] = is_ready ? computable(objects[i], std::move(inputs[i])) : contiguous(objects[i], std::move(inputs[i]));
  }
  std::vector<nb::object> results;
  if (OF_MASK) {
    results.push_back(empty("attention", given.shape(given.queries(), given.keys()), given.q.type));
  } else {
    for (const Array* x : {&given.q, &given.k, &given.v})
      results.push_back(lying_like("attention", *x, given.shape(x->length(-2), x->length(-1))));
  }
  std::vector<Array> arrays(results.begin(), results.end());
  (given.q.type == 'f' ? backward<float> : backward<double>)(given, inputs, arrays, is_causal, scale, p, key);
  for (nb::object& result : results) result = as_type(result, given.type);
  return OF_MASK ? results[0] : nb::make_tuple(results[0], results[1], results[2]);
}

}  // namespace

void add_attention(nb::module_& m) {
  m.def("attention_forward", attention_forward, nb::arg("q").none(), nb::arg("k").none(), nb::arg("v").none(),
        nb::arg("mask").none(), nb::arg("is_causal"), nb::arg("scale"), nb::arg("p"), nb::arg("key").none());
  auto add = [&](const char* name, auto f) {
    m.def(name, f, nb::arg("g").none(), nb::arg("g_lse").none(), nb::arg("q").none(), nb::arg("k").none(),
          nb::arg("v").none(), nb::arg("mask").none(), nb::arg("y").none(), nb::arg("lse").none(),
          nb::arg("is_causal"), nb::arg("scale"), nb::arg("p"), nb::arg("key").none());
  };
  add("attention_backward", backward<false>);
  add("attention_backward_mask", backward<true>);
}

}  // namespace kinone

// Reductions as Python calls them: `axis` is None or a tuple of axes from the front. Integers are the reference's.
#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// Which axes are reduced; empty if that is not for us to say.
std::vector<bool> reduced_axes(const Array& x, nb::handle axis) {
  std::vector<bool> is_reduced(x.axes(), axis.is_none());
  if (axis.is_none()) return is_reduced;
  for (nb::handle each : nb::borrow<nb::tuple>(axis)) is_reduced.at(nb::cast<int>(each)) = true;
  return is_reduced;
}

// Gives append(axes, axis) the axes that are kept, as x lies, and those that are reduced, in the order of the shape.
template <int SOURCES, class T, class F>
void append_axes(Operands<T, SOURCES>& o, const Array& x, const std::vector<bool>& is_reduced, const F& add) {
  for (auto axis : x.order())
    if (!is_reduced[axis]) add(o.kept, axis);
  for (int axis = 0; axis < x.axes(); axis++)
    if (is_reduced[axis]) add(o.reduced, axis);
}

template <class T>
void reduction(const char* where, Reduction kind, const Array& x, const Array& y, const std::vector<bool>& is_reduced,
               double number) {
  Reduce<T> r{kind, {{x.data<T>()}, {}, {}}, y.data<T>(), number};
  append_axes(r.x, x, is_reduced, [&](Axes<1>& axes, int i) { append(axes, x.length(i), {x.stride(i)}); });
  compute(where, x.size(), [&] { KINONE_CALL(reduction(r)); });
}

template <class T>
void sum_products(const char* where, const Array& a, const Array& b, const Array& y,
                  const std::vector<bool>& is_reduced) {
  Reduce<T, 2> r{Reduction::sum, {{a.data<T>(), b.data<T>()}, {}, {}}, y.data<T>(), 0};
  append_axes(r.x, a, is_reduced, [&](Axes<2>& axes, int i) {
    append(axes, a.length(i), {a.stride(i), b.stride(i)});
  });
  compute(where, a.size(), [&] { KINONE_CALL(product_sum(r)); });
}

// The result lies as x does, without the axes that are gone.
nb::object empty_result(const char* where, const Array& x, const std::vector<bool>& is_reduced, bool keepdims) {
  Shape shape, place, order;
  for (int i = 0; i < x.axes(); i++) {
    place.push_back(shape.size());
    if (!is_reduced[i] || keepdims) shape.push_back(is_reduced[i] ? 1 : x.length(i));
  }
  for (auto i : x.order())
    if (!is_reduced[i] || keepdims) order.push_back(place[i]);
  return empty(where, shape, x.type, order);
}

bool is_axes(nb::handle axis) { return axis.is_none() || nb::isinstance<nb::tuple>(axis); }

nb::object reduction(const char* where, Reduction kind, nb::handle object, nb::handle axis, bool keepdims,
                     double number = 0) {
  Array given(object);
  if (!given.is_floating() || !is_axes(axis)) return left_to_reference();
  std::vector<bool> is_reduced = reduced_axes(given, axis);
  char type = given.type;
  Array x = computable(object, std::move(given));
  nb::object y = empty_result(where, x, is_reduced, keepdims);
  auto f = x.type == 'f' ? reduction<float> : reduction<double>;
  f(where, kind, x, Array(y), is_reduced, number);
  return as_type(y, type);
}


}  // namespace

nb::object sum(nb::handle x, nb::handle axis, bool keepdims) {
  return reduction("sum", Reduction::sum, x, axis, keepdims);
}

namespace {

nb::object product_sum(nb::handle a_object, nb::handle b_object, nb::handle axis, bool keepdims) {
  Array given(a_object), other(b_object);
  bool is_ours = given.is_floating() && other.type == given.type && other.shape() == given.shape() && is_axes(axis);
  if (!is_ours) return left_to_reference();
  std::vector<bool> is_reduced = reduced_axes(given, axis);
  char type = given.type;
  Array a = computable(a_object, std::move(given)), b = computable(b_object, std::move(other));
  nb::object y = empty_result("product_sum", a, is_reduced, keepdims);
  (a.type == 'f' ? sum_products<float> : sum_products<double>)("product_sum", a, b, Array(y), is_reduced);
  return as_type(y, type);
}

nb::object mean(nb::handle x, nb::handle axis, bool keepdims) {
  return reduction("mean", Reduction::mean, x, axis, keepdims);
}

nb::object prod(nb::handle x, nb::handle axis, bool keepdims) {
  return reduction("prod", Reduction::prod, x, axis, keepdims);
}

nb::object var(nb::handle x, nb::handle axis, double correction, bool keepdims) {
  return reduction("var", Reduction::var, x, axis, keepdims, correction);
}

nb::object std_(nb::handle x, nb::handle axis, double correction, bool keepdims) {
  return reduction("std", Reduction::std, x, axis, keepdims, correction);
}

nb::object logsumexp(nb::handle x, nb::handle axis, bool keepdims) {
  return reduction("logsumexp", Reduction::logsumexp, x, axis, keepdims);
}

nb::object vector_norm(nb::handle x, nb::handle axis, bool keepdims, double ord) {
  bool is_ours = ord == 1 || ord == 2 || ord * ord == __builtin_inf();
  if (!is_ours || (ord < 0 && Array(x).type && !Array(x).size())) return left_to_reference();
  return reduction("vector_norm", Reduction::vector_norm, x, axis, keepdims, ord);
}

template <class T>
void cumulative(const char* where, const Array& x, const Array& y, int axis, bool is_product) {
  Running<T> r{x.data<T>(), y.data<T>(), {}, x.length(axis), x.stride(axis), y.stride(axis), is_product};
  for (auto other : x.order())
    if (other != axis) append(r.lines, x.length(other), {x.stride(other), y.stride(other)});
  compute(where, x.size(), [&] { KINONE_CALL(cumulative(r)); });
}

nb::object cumulative(const char* where, nb::handle object, int axis, bool is_product) {
  Array given(object);
  if (!given.is_floating() || axis < 0 || axis >= given.axes()) return left_to_reference();
  char type = given.type;
  Array x = computable(object, std::move(given));
  nb::object y = empty_like(where, x, x.type);
  (x.type == 'f' ? cumulative<float> : cumulative<double>)(where, x, Array(y), axis, is_product);
  return as_type(y, type);
}

nb::object cumulative_sum(nb::handle x, int axis) { return cumulative("cumulative_sum", x, axis, false); }

nb::object cumulative_prod(nb::handle x, int axis) { return cumulative("cumulative_prod", x, axis, true); }

}  // namespace

void add_reduction(nb::module_& m) {
  using namespace nb::literals;
  m.def("sum", sum, "x"_a.none(), "axis"_a.none(), "keepdims"_a);
  m.def("product_sum", product_sum, "a"_a.none(), "b"_a.none(), "axis"_a.none(), "keepdims"_a);
  m.def("mean", mean, "x"_a.none(), "axis"_a.none(), "keepdims"_a);
  m.def("prod", prod, "x"_a.none(), "axis"_a.none(), "keepdims"_a);
  m.def("var", var, "x"_a.none(), "axis"_a.none(), "correction"_a, "keepdims"_a);
  m.def("std", std_, "x"_a.none(), "axis"_a.none(), "correction"_a, "keepdims"_a);
  m.def("logsumexp", logsumexp, "x"_a.none(), "axis"_a.none(), "keepdims"_a);
  m.def("vector_norm", vector_norm, "x"_a.none(), "axis"_a.none(), "keepdims"_a, "ord"_a);
  m.def("cumulative_sum", cumulative_sum, "x"_a.none(), "axis"_a);
  m.def("cumulative_prod", cumulative_prod, "x"_a.none(), "axis"_a);
}

}  // namespace kinone

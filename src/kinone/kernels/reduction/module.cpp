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

template <class T>
void reduction(const char* where, Reduction kind, const Array& x, const Array& y, const std::vector<bool>& is_reduced,
               double number) {
  Reduce<T> r{kind, {{x.data<T>()}, {}, {}}, y.data<T>(), number};
  for (auto axis : x.order())
    if (!is_reduced[axis]) append(r.x.kept, x.length(axis), {x.stride(axis)});
  for (int axis = 0; axis < x.axes(); axis++)
    if (is_reduced[axis]) append(r.x.reduced, x.length(axis), {x.stride(axis)});
  compute(where, x.size(), [&] { KINONE_CALL(reduction(r)); });
}

// The result lies as x does, without the axes that are gone.
nb::object reduction(const char* where, Reduction kind, nb::handle object, nb::handle axis, bool keepdims,
                     double number = 0) {
  Array given(object);
  if (!given.is_floating() || !(axis.is_none() || nb::isinstance<nb::tuple>(axis))) return left_to_reference();
  std::vector<bool> is_reduced = reduced_axes(given, axis);
  char type = given.type;
  Array x = computable(object, std::move(given));
  Shape shape, place, order;
  for (int i = 0; i < x.axes(); i++) {
    place.push_back(shape.size());
    if (!is_reduced[i] || keepdims) shape.push_back(is_reduced[i] ? 1 : x.length(i));
  }
  for (auto i : x.order())
    if (!is_reduced[i] || keepdims) order.push_back(place[i]);
  nb::object y = empty(where, shape, x.type, order);
  auto f = x.type == 'f' ? reduction<float> : reduction<double>;
  f(where, kind, x, Array(y), is_reduced, number);
  return as_type(y, type);
}


}  // namespace

nb::object sum(nb::handle x, nb::handle axis, bool keepdims) {
  return reduction("sum", Reduction::sum, x, axis, keepdims);
}

namespace {

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

// softmax_nll_forward(x, target, axis) and the other losses, as Python calls them.
#include "../native/array.hpp"
#include "../normalize/module_softmax.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// Integers as int64, in the order of their axes; what holds no integers as no array.
Array integers(nb::handle object) {
  Array x(object);
  if (x.type == 'q') return contiguous(object, std::move(x));
  if (!nb::hasattr(object, "dtype")) return Array(nb::none());
  nb::object kind = object.attr("dtype").attr("kind");
  if (!kind.equal(nb::str("i")) && !kind.equal(nb::str("u"))) return Array(nb::none());
  nb::object numbers = object.attr("astype")("int64");
  return contiguous(numbers, Array(numbers));
}

bool are_between(const Array& x, Index low, Index high) {
  const Index* p = x.data<Index>();
  for (Index i = 0, n = x.size(); i < n; i++)
    if (p[i] < low || p[i] > high) return false;
  return true;
}

Shape without(Shape shape, int axis) {
  shape.erase(shape.begin() + axis);
  return shape;
}

// ---------------------------------------------------------------------------------- of classes
// A target for x, its classes in range: whatever else a caller brings is the reference's.
bool is_target(const Array& target, const Array& x, int& axis) {
  if (axis < 0) axis += x.axes();
  return x.is_floating() && axis >= 0 && axis < x.axes() && target.type == 'q' &&
         target.shape() == without(x.shape(), axis) && are_between(target, 0, x.length(axis) - 1);
}

nb::object softmax_nll_forward(nb::handle x_object, nb::handle target_object, int axis) {
  Array x_given(x_object), target = integers(target_object);
  if (!is_target(target, x_given, axis)) return left_to_reference();
  char type = x_given.type;
  Array x = computable(x_object, std::move(x_given));
  nb::object result = empty("softmax_nll", target.shape(), x.type);
  Array y(result);
  if (!y.size()) return as_type(result, type);
  Rows rows = rows_along(axis, {&x, &target, &y});
  compute("softmax_nll", 10.0 * x.size(), [&] {
    x.type == 'f' ? KINONE_CALL(softmax_nll_forward<float>(rows)) : KINONE_CALL(softmax_nll_forward<double>(rows));
  });
  return as_type(result, type);
}

nb::object softmax_nll_backward(nb::handle g_object, nb::handle x_object, nb::handle target_object, int axis) {
  Array g_given(g_object), x_given(x_object), target = integers(target_object);
  if (!is_target(target, x_given, axis)) return left_to_reference();
  if (g_given.type != x_given.type || g_given.shape() != target.shape()) return left_to_reference();
  char type = x_given.type;
  Array g = computable(g_object, std::move(g_given)), x = computable(x_object, std::move(x_given));
  nb::object result = empty_like("softmax_nll", x, x.type);
  Array gx(result);
  if (!gx.size()) return as_type(result, type);
  Rows rows = rows_along(axis, {&x, &gx, &target, &g});
  compute("softmax_nll", 10.0 * x.size(), [&] {
    x.type == 'f' ? KINONE_CALL(softmax_nll_backward<float>(rows)) : KINONE_CALL(softmax_nll_backward<double>(rows));
  });
  return as_type(result, type);
}

// ---------------------------------------------------------------------------------- of sequences
// The arguments of ctc_forward, checked: they lead to places in memory.
struct Sequences {
  Array x, labels, skips, ends, lengths;
  char type;
  bool is_served = false;

  Sequences(nb::handle x_object, nb::handle labels, nb::handle skips, nb::handle ends, nb::handle lengths)
      : x(x_object), labels(integers(labels)), skips(skips), ends(ends), lengths(integers(lengths)), type(x.type) {
    if (!x.is_floating() || x.axes() != 3 || this->labels.type != 'q' || this->lengths.type != 'q') return;
    Shape states = this->labels.shape();
    bool are_shapes_right = states.size() == 2 && states[0] == x.length(1) && this->skips.shape() == states &&
                            this->ends.shape() == states && this->lengths.shape() == Shape{x.length(1)};
    if (!are_shapes_right || this->skips.type != '?' || this->ends.type != '?') return;
    if (!are_between(this->labels, 0, x.length(2) - 1) || !are_between(this->lengths, 1, x.length(0))) return;
    x = computable(x_object, std::move(x));
    this->skips = contiguous(skips, std::move(this->skips)), this->ends = contiguous(ends, std::move(this->ends));
    is_served = true;
  }

  template <class T>
  Ctc<T> ctc() const {
    return {x.length(0), x.length(1), x.length(2), labels.length(1), x.data<T>(), x.stride(0), x.stride(1), x.stride(2),
            labels.data<Index>(), lengths.data<Index>(), skips.data<bool>(), ends.data<bool>()};
  }
  double work() const { return 60.0 * x.length(0) * labels.size(); }
};

template <class T>
void forward(const Sequences& given, const Array& y) {
  Ctc<T> c = given.ctc<T>();
  c.y = y.data<T>();
  compute("ctc", given.work(), [&] { KINONE_CALL(ctc_forward(c)); });
}

nb::object ctc_forward(nb::handle x, nb::handle labels, nb::handle skips, nb::handle ends, nb::handle lengths) {
  Sequences given(x, labels, skips, ends, lengths);
  if (!given.is_served) return left_to_reference();
  nb::object y = empty("ctc", given.lengths.shape(), given.x.type);
  (given.x.type == 'f' ? forward<float> : forward<double>)(given, Array(y));
  return as_type(y, given.type);
}

template <class T>
void backward(const Sequences& given, const Array& g, const Array& gx) {
  Ctc<T> c = given.ctc<T>();
  c.g = g.data<T>();
  c.gx = gx.data<T>(), c.gx_step = gx.stride(0), c.gx_row = gx.stride(1), c.gx_class = gx.stride(2);
  compute("ctc", 2 * given.work(), [&] { KINONE_CALL(ctc_backward(c)); });
}

nb::object ctc_backward(nb::handle g_object, nb::handle x, nb::handle labels, nb::handle skips, nb::handle ends,
                        nb::handle lengths) {
  Sequences given(x, labels, skips, ends, lengths);
  Array g(g_object);
  if (!given.is_served || g.type != given.type || g.shape() != given.lengths.shape()) return left_to_reference();
  g = contiguous(g_object, std::move(g));
  nb::object gx = empty_like("ctc", given.x, given.x.type);
  (given.x.type == 'f' ? backward<float> : backward<double>)(given, g, Array(gx));
  return as_type(gx, given.type);
}

}  // namespace

void add_loss(nb::module_& m) {
  m.def("softmax_nll_forward", softmax_nll_forward, nb::arg("x").none(), nb::arg("target").none(), nb::arg("axis"));
  m.def("softmax_nll_backward", softmax_nll_backward, nb::arg("g").none(), nb::arg("x").none(),
        nb::arg("target").none(), nb::arg("axis"));
  m.def("ctc_forward", ctc_forward, nb::arg("x").none(), nb::arg("labels").none(), nb::arg("skips").none(),
        nb::arg("ends").none(), nb::arg("lengths").none());
  m.def("ctc_backward", ctc_backward, nb::arg("g").none(), nb::arg("x").none(), nb::arg("labels").none(),
        nb::arg("skips").none(), nb::arg("ends").none(), nb::arg("lengths").none());
}

}  // namespace kinone

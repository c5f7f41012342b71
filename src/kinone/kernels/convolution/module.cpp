// The convolutions, as Python calls them: shapes are looked at, images that do not lie channels-last are copied, and
// NotImplemented leaves a call to reference.py, whose errors are the ones that users see.
#include <nanobind/stl/string.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

using Ints = std::vector<Index>;
using Pairs = std::vector<std::pair<Index, Index>>;

// What the call says of the spatial axes, `first` being that of them in the shapes of images and kernels.
struct Geometry {
  const Ints& stride;
  const Pairs& padding;
  const Ints& dilation;

  template <class T>
  Convolution<T> of(Index batch, Index channels, Index out_channels, Index groups, const Ints& size, const Ints& kernel) const {
    Convolution<T> c{batch, channels, out_channels, groups, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {}, {1, 1, 1},
                     nullptr, nullptr, nullptr, nullptr, nullptr, false};
    for (size_t i = 0; i < size.size(); i++) {
      size_t axis = 3 - size.size() + i;
      c.size[axis] = size[i], c.kernel[axis] = kernel[i], c.stride[axis] = stride[i];
      c.dilation[axis] = dilation[i], c.before[axis] = padding[i].first;
      c.out[axis] = out(size[i], kernel[i], i);
    }
    return c;
  }

  Index out(Index size, Index kernel, size_t i) const {
    return (size + padding[i].first + padding[i].second - dilation[i] * (kernel - 1) - 1) / stride[i] + 1;
  }

  // Whether there is a number for each spatial axis, and one to three of them.
  bool is_for(size_t axes) const {
    return axes >= 1 && axes <= 3 && stride.size() == axes && padding.size() == axes && dilation.size() == axes;
  }
};

Ints lengths(const Array& a, int first) {
  Ints lengths;
  for (int axis = first; axis < a.axes(); axis++) lengths.push_back(a.length(axis));
  return lengths;
}

bool is_channels_last(const Array& a) {
  Index next = 1;
  for (Py_ssize_t axis : channels_last(a.axes())) next *= a.length(axis);
  for (Py_ssize_t axis : channels_last(a.axes())) {
    next /= a.length(axis);
    if (a.length(axis) != 1 && a.stride(axis) != next) return false;
  }
  return true;
}

// The image, channels-last: as it is, or a copy.
Array image(const char* where, nb::handle object, Array given) {
  Array a = computable(object, std::move(given));
  if (is_channels_last(a)) return a;
  Array from = contiguous(object, std::move(a));
  Array to(empty(where, from.shape(), from.type, channels_last(from.axes())));
  Index batch = from.length(0), channels = from.length(1), pixels = from.size() / (batch * channels);
  compute(where, from.size(), [&] {
    if (from.type == 'f')
      KINONE_CALL(to_channels_last(from.data<float>(), to.data<float>(), batch, channels, pixels));
    else
      KINONE_CALL(to_channels_last(from.data<double>(), to.data<double>(), batch, channels, pixels));
  });
  return to;
}

template <class T>
double work(const Convolution<T>& c) {
  double work = static_cast<double>(c.batch) * c.channels * c.out_channels / c.groups;
  for (int i = 0; i < 3; i++) work *= static_cast<double>(c.out[i]) * c.kernel[i];
  return work;
}

// A bias or a residual: nothing, or an array of that type and shape.
bool fits(nb::handle object, const Array& a, char type, const Shape& shape) {
  return object.is_none() || (a.type == type && a.shape() == shape && a.size());
}

// Of a convolution and its transpose: how they differ is for `run` to say, which is called with the source's type.
template <class Run>
nb::object convolved(const char* where, nb::handle source_object, nb::handle w_object, nb::handle b_object,
                     nb::handle residual_object, const std::string& activation, const Shape& shape, const Run& run) {
  Array source_given(source_object), w_given(w_object), b_given(b_object), residual_given(residual_object);
  char type = source_given.type;
  if (!fits(b_object, b_given, type, {shape[1]}) || !fits(residual_object, residual_given, type, shape) ||
      (activation != "none" && activation != "relu"))
    return left_to_reference();
  Array source = image(where, source_object, std::move(source_given));
  Array w = contiguous(w_object, std::move(w_given));
  Array b = b_object.is_none() ? std::move(b_given) : contiguous(b_object, std::move(b_given));
  Array residual = residual_object.is_none() ? std::move(residual_given)
                                             : image(where, residual_object, std::move(residual_given));
  nb::object result = empty(where, shape, source.type, channels_last(shape.size()));
  Array y(result);
  auto typed = [&](auto zero) {
    using T = decltype(zero);
    run(source.data<T>(), w.data<T>(), y.data<T>(), b.data<T>(), residual.data<T>(), activation == "relu");
  };
  source.type == 'f' ? typed(0.0f) : typed(0.0);
  return as_type(result, type);
}

nb::object convolution_forward(nb::handle x_object, nb::handle w_object, nb::handle b_object, const Ints& stride,
                               const Pairs& padding, const Ints& dilation, Index groups, nb::handle residual,
                               const std::string& activation) {
  const char* where = "convolution_forward";
  Geometry at{stride, padding, dilation};
  Array x(x_object), w(w_object);
  if (!x.is_floating() || w.type != x.type || x.axes() != w.axes() || !at.is_for(x.axes() - 2) || !x.size() || !w.size() ||
      groups < 1 || w.length(0) % groups || x.length(1) != w.length(1) * groups)
    return left_to_reference();
  Ints size = lengths(x, 2), kernel = lengths(w, 2);
  Shape shape{x.length(0), w.length(0)};
  for (size_t i = 0; i < size.size(); i++) {
    shape.push_back(at.out(size[i], kernel[i], i));
    if (shape.back() < 1) return left_to_reference();
  }
  return convolved(where, x_object, w_object, b_object, residual, activation, shape,
                   [&]<class T>(T* source, T* weight, T* y, const T* b, const T* residual, bool is_relu) {
    auto c = at.of<T>(shape[0], x.length(1), shape[1], groups, size, kernel);
    c.x = source, c.w = weight, c.y = y, c.bias = b, c.residual = residual, c.is_relu = is_relu;
    compute(where, work(c), [&] { KINONE_CALL(convolution_forward(c)); });
  });
}

nb::object convolution_backward_input(nb::handle g_object, nb::handle w_object, nb::handle b_object, const Ints& size,
                                      const Ints& stride, const Pairs& padding, const Ints& dilation, Index groups) {
  const char* where = "convolution_backward_input";
  Geometry at{stride, padding, dilation};
  Array g(g_object), w(w_object);
  if (!g.is_floating() || w.type != g.type || g.axes() != w.axes() || !at.is_for(g.axes() - 2) || !g.size() || !w.size() ||
      size.size() != stride.size() || groups < 1 || w.length(0) % groups || g.length(1) != w.length(0))
    return left_to_reference();
  Ints kernel = lengths(w, 2);
  Shape shape{g.length(0), w.length(1) * groups};
  for (size_t i = 0; i < size.size(); i++) {
    shape.push_back(size[i]);
    if (size[i] < 1 || at.out(size[i], kernel[i], i) != g.length(2 + i)) return left_to_reference();
  }
  return convolved(where, g_object, w_object, b_object, nb::none(), "none", shape,
                   [&]<class T>(T* source, T* weight, T* x, const T* b, const T*, bool) {
    auto c = at.of<T>(shape[0], shape[1], w.length(0), groups, size, kernel);
    c.x = x, c.w = weight, c.y = source, c.bias = b;
    compute(where, work(c), [&] { KINONE_CALL(convolution_backward_input(c)); });
  });
}

nb::object convolution_backward_weight(nb::handle g_object, nb::handle x_object, const Ints& kernel, const Ints& stride,
                                       const Pairs& padding, const Ints& dilation, Index groups) {
  const char* where = "convolution_backward_weight";
  Geometry at{stride, padding, dilation};
  Array g_given(g_object), x_given(x_object);
  if (!g_given.is_floating() || x_given.type != g_given.type || g_given.axes() != x_given.axes() ||
      !at.is_for(x_given.axes() - 2) || !g_given.size() || !x_given.size() || kernel.size() != stride.size() || groups < 1 ||
      g_given.length(1) % groups || x_given.length(1) % groups || g_given.length(0) != x_given.length(0))
    return left_to_reference();
  Ints size = lengths(x_given, 2);
  Shape shape{g_given.length(1), x_given.length(1) / groups};
  for (size_t i = 0; i < size.size(); i++) {
    shape.push_back(kernel[i]);
    if (kernel[i] < 1 || at.out(size[i], kernel[i], i) != g_given.length(2 + i)) return left_to_reference();
  }
  char type = g_given.type;
  Array g = image(where, g_object, std::move(g_given)), x = image(where, x_object, std::move(x_given));
  nb::object result = empty(where, shape, g.type);
  Array w(result);
  auto typed = [&](auto zero) {
    using T = decltype(zero);
    auto c = at.of<T>(x.length(0), x.length(1), shape[0], groups, size, kernel);
    c.x = x.data<T>(), c.w = w.data<T>(), c.y = g.data<T>();
    compute(where, work(c), [&] { KINONE_CALL(convolution_backward_weight(c)); });
  };
  g.type == 'f' ? typed(0.0f) : typed(0.0);
  return as_type(result, type);
}

nb::object unfold(nb::handle x_object, const Ints& kernel, const Ints& stride, const Pairs& padding,
                  const Ints& dilation) {
  Geometry at{stride, padding, dilation};
  Array x_given(x_object);
  if (!x_given.is_floating() || !at.is_for(x_given.axes() - 2) || kernel.size() != stride.size() || !x_given.size())
    return left_to_reference();
  Ints size = lengths(x_given, 2);
  Shape shape{x_given.length(0), x_given.length(1)}, out;
  for (size_t i = 0; i < size.size(); i++) {
    shape.push_back(kernel[i]), out.push_back(at.out(size[i], kernel[i], i));
    if (kernel[i] < 1 || out.back() < 1) return left_to_reference();
  }
  shape.insert(shape.end(), out.begin(), out.end());
  char type = x_given.type;
  Array x = contiguous(x_object, std::move(x_given));
  nb::object result = empty("unfold", shape, x.type);
  Array y(result);
  auto typed = [&](auto zero) {
    using T = decltype(zero);
    auto c = at.of<T>(shape[0], shape[1], shape[1], 1, size, kernel);
    c.x = x.data<T>(), c.y = y.data<T>();
    compute("unfold", y.size(), [&] { KINONE_CALL(unfold(c)); });
  };
  x.type == 'f' ? typed(0.0f) : typed(0.0);
  return as_type(result, type);
}

nb::object fold(nb::handle y_object, const Ints& size, const Ints& stride, const Pairs& padding, const Ints& dilation) {
  Geometry at{stride, padding, dilation};
  Array y_given(y_object);
  int n = size.size();
  if (!y_given.is_floating() || !at.is_for(n) || y_given.axes() != 2 + 2 * n || !y_given.size()) return left_to_reference();
  Ints kernel = lengths(y_given, 2), out(kernel.begin() + n, kernel.end());
  kernel.resize(n);
  Shape shape{y_given.length(0), y_given.length(1)};
  for (int i = 0; i < n; i++) {
    shape.push_back(size[i]);
    if (size[i] < 1 || out[i] != at.out(size[i], kernel[i], i)) return left_to_reference();
  }
  char type = y_given.type;
  Array y = contiguous(y_object, std::move(y_given));
  nb::object result = empty("fold", shape, y.type);
  Array x(result);
  auto typed = [&](auto zero) {
    using T = decltype(zero);
    auto c = at.of<T>(shape[0], shape[1], shape[1], 1, size, kernel);
    c.x = x.data<T>(), c.y = y.data<T>();
    compute("fold", y.size(), [&] { KINONE_CALL(fold(c)); });
  };
  y.type == 'f' ? typed(0.0f) : typed(0.0);
  return as_type(result, type);
}

}  // namespace

void add_convolution(nb::module_& m) {
  using namespace nb::literals;
  m.def("convolution_forward", convolution_forward, "x"_a.none(), "w"_a.none(), "b"_a.none(), "stride"_a, "padding"_a,
        "dilation"_a, "groups"_a, "residual"_a.none() = nb::none(), "activation"_a = "none");
  m.def("convolution_backward_input", convolution_backward_input, "g"_a.none(), "w"_a.none(), "b"_a.none(), "size"_a,
        "stride"_a, "padding"_a, "dilation"_a, "groups"_a);
  m.def("convolution_backward_weight", convolution_backward_weight, "g"_a.none(), "x"_a.none(), "kernel"_a, "stride"_a,
        "padding"_a, "dilation"_a, "groups"_a);
  m.def("unfold", unfold, "x"_a.none(), "kernel"_a, "stride"_a, "padding"_a, "dilation"_a);
  m.def("fold", fold, "columns"_a.none(), "size"_a, "stride"_a, "padding"_a, "dilation"_a);
}

}  // namespace kinone

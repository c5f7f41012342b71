// Pooling, as Python calls it: images are taken as they lie if their channels lie side by side, else plane by plane.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

using Numbers = std::vector<Index>;
using Pairs = std::vector<std::pair<Index, Index>>;

// The windows of one to three axes, the lacking ones filled in: (length) as (1, 1, length), (h, w) as (h, 1, w).
struct Filled {
  Windows windows{};
  Shape out;  // the batch, the channels, and so many windows

  Filled(const Array& x, const Numbers& size, const Numbers& out, const Numbers& kernel, const Numbers& stride,
         const Pairs& padding, const Numbers& dilation) : out{x.length(0), x.length(1)} {
    for (int i = 0; i < 3; i++) {
      windows.size[i] = windows.out[i] = windows.kernel[i] = windows.stride[i] = windows.dilation[i] = 1;
    }
    for (size_t i = 0; i < size.size(); i++) {
      int axis = place(i, size.size());
      windows.size[axis] = size[i], windows.out[axis] = out[i], windows.kernel[axis] = kernel[i];
      windows.stride[axis] = stride[i], windows.before[axis] = padding[i].first, windows.dilation[axis] = dilation[i];
    }
  }

  static int place(int axis, int axes) { return axes == 2 ? 2 * axis : axis + 3 - axes; }
};

bool are_for(int axes, std::initializer_list<size_t> lengths) {
  for (size_t length : lengths)
    if (length != static_cast<size_t>(axes)) return false;
  return axes >= 1 && axes <= 3;
}

bool are_positive(std::initializer_list<const Numbers*> all) {
  for (const Numbers* numbers : all)
    for (Index number : *numbers)
      if (number < 1) return false;
  return true;
}

Numbers spatial(const Array& x) {
  Shape shape = x.shape();
  return Numbers(shape.begin() + 2, shape.end());
}

bool is_empty(const Shape& shape) {
  for (Py_ssize_t length : shape)
    if (!length) return true;
  return false;
}

Shape shape_of(const Array& x, const Numbers& size) {
  Shape shape{x.length(0), x.length(1)};
  shape.insert(shape.end(), size.begin(), size.end());
  return shape;
}

bool is_by_channel(const Array& x) { return x.length(1) > 1 && x.stride(1) == 1; }

// x as kernels take it.
Array images(nb::handle object, Array given) {
  Array x = computable(object, std::move(given));
  return is_by_channel(x) ? std::move(x) : contiguous(object, std::move(x));
}

Shape order(const Array& x) { return is_by_channel(x) ? channels_last(x.axes()) : Shape{}; }

template <class T>
Images<T> view(const Array& x) {
  Images<T> images{x.data<T>(), x.length(0), x.length(1), is_by_channel(x), x.stride(0), {}};
  for (int axis = 2; axis < x.axes(); axis++) images.step[Filled::place(axis - 2, x.axes() - 2)] = x.stride(axis);
  return images;
}

double work(const Array& x, const Windows& w) {
  double taps = static_cast<double>(x.length(0)) * x.length(1);
  for (int i = 0; i < 3; i++) taps *= static_cast<double>(w.kernel[i]) * w.out[i];
  return taps;
}

// ---------------------------------------------------------------------------------- the largest
nb::object max_pool_forward(nb::handle x_object, const Numbers& kernel, const Numbers& stride, const Pairs& padding,
                            const Numbers& dilation, const Numbers& out) {
  Array given(x_object);
  int axes = given.axes() - 2;
  if (!given.is_floating() || !are_for(axes, {kernel.size(), stride.size(), padding.size(), dilation.size(), out.size()}))
    return left_to_reference();
  char type = given.type;
  Index area = 1;
  for (Index length : spatial(given)) area *= length;
  if (!are_positive({&kernel, &stride, &dilation}) || area > 0x7fffffff) return left_to_reference();
  Array x = images(x_object, std::move(given));
  Filled filled(x, spatial(x), out, kernel, stride, padding, dilation);
  nb::object y = empty("max_pool", shape_of(x, out), x.type, order(x));
  nb::object indices = empty("max_pool", shape_of(x, out), 'q', order(x));
  auto run = [&]<class T>(T) {
    MaxPool<T> m{view<T>(x), filled.windows, Array(y).data<T>(), Array(indices).data<Index>()};
    compute("max_pool", work(x, filled.windows), [&] { KINONE_CALL(max_pool_forward(m)); });
  };
  if (!is_empty(shape_of(x, out))) x.type == 'f' ? run(0.0f) : run(0.0);
  return nb::make_tuple(as_type(y, type), indices);
}

nb::object max_pool_backward(nb::handle g_object, nb::handle indices_object, const Numbers& size) {
  Array g_given(g_object), indices_given(indices_object);
  if (!g_given.is_floating() || indices_given.type != 'q' || !are_for(g_given.axes() - 2, {size.size()}) ||
      g_given.shape() != indices_given.shape() || !are_positive({&size}))
    return left_to_reference();
  char type = g_given.type;
  Array g = computable(g_object, std::move(g_given)), indices = computable(indices_object, std::move(indices_given));
  if (!g.is_channels_last() || !indices.is_channels_last()) {
    g = contiguous(g_object, std::move(g));
    indices = contiguous(indices_object, std::move(indices));
  }
  bool is_last = g.is_channels_last() && indices.is_channels_last();
  nb::object x = empty("max_unpool", shape_of(g, size), g.type, is_last ? channels_last(g.axes()) : Shape{});
  bool is_inside = true;
  auto run = [&]<class T>(T) {
    Index area = 1, positions = 1;
    for (Index length : size) area *= length;
    for (Index length : spatial(g)) positions *= length;
    Images<T> from = view<T>(g);
    from.is_channels_last = is_last;
    MaxPoolBackward<T> m{from, indices.data<Index>(), positions, area, Array(x).data<T>()};
    compute("max_unpool", g.size() + from.batch * from.channels * area,
            [&] { is_inside = KINONE_CALL(max_pool_backward(m)); });
  };
  if (!is_empty(shape_of(g, size))) g.type == 'f' ? run(0.0f) : run(0.0);
  return is_inside ? as_type(x, type) : left_to_reference();
}

// ---------------------------------------------------------------------------------- the average
// Of x, or with `size` the gradient of an x of that size.
nb::object average(nb::handle object, nb::handle counts_object, const Numbers* size, const Numbers& kernel,
                   const Numbers& stride, const Pairs& padding) {
  Array given(object), counts_given(counts_object);
  int axes = given.axes() - 2;
  if (!given.is_floating() || counts_given.type != 'd' || counts_given.axes() != axes ||
      !are_for(axes, {kernel.size(), stride.size(), padding.size(), size ? size->size() : kernel.size()}) ||
      !are_positive({&kernel, &stride}))
    return left_to_reference();
  char type = given.type;
  Array from = images(object, std::move(given)), counts = computable(counts_object, std::move(counts_given));
  Shape windows = counts.shape();
  Numbers out(windows.begin(), windows.end());
  if (size && spatial(from) != out) return left_to_reference();
  Filled filled(from, size ? *size : spatial(from), out, kernel, stride, padding, Numbers(axes, 1));
  Shape shape = shape_of(from, size ? *size : out);
  nb::object to = empty(size ? "avg_unpool" : "avg_pool", shape, from.type, order(from));
  Counts by{counts.data<double>(), {}};
  for (int axis = 0; axis < axes; axis++) by.step[Filled::place(axis, axes)] = counts.stride(axis);
  auto run = [&]<class T>(T) {
    AvgPool<T> m{view<T>(from), filled.windows, by, Array(to).data<T>()};
    compute("avg_pool", work(from, filled.windows), [&] {
      size ? KINONE_CALL(avg_pool_backward(m)) : KINONE_CALL(avg_pool_forward(m));
    });
  };
  if (!is_empty(shape)) from.type == 'f' ? run(0.0f) : run(0.0);
  return as_type(to, type);
}

nb::object avg_pool_forward(nb::handle x, nb::handle counts, const Numbers& kernel, const Numbers& stride,
                            const Pairs& padding) {
  return average(x, counts, nullptr, kernel, stride, padding);
}

nb::object avg_pool_backward(nb::handle g, nb::handle counts, const Numbers& size, const Numbers& kernel,
                             const Numbers& stride, const Pairs& padding) {
  return average(g, counts, &size, kernel, stride, padding);
}

}  // namespace

void add_pooling(nb::module_& m) {
  m.def("max_pool_forward", max_pool_forward, nb::arg("x").none(), nb::arg("kernel"), nb::arg("stride"),
        nb::arg("padding"), nb::arg("dilation"), nb::arg("out"));
  m.def("max_pool_backward", max_pool_backward, nb::arg("g").none(), nb::arg("indices").none(), nb::arg("size"));
  m.def("avg_pool_forward", avg_pool_forward, nb::arg("x").none(), nb::arg("counts").none(), nb::arg("kernel"),
        nb::arg("stride"), nb::arg("padding"));
  m.def("avg_pool_backward", avg_pool_backward, nb::arg("g").none(), nb::arg("counts").none(), nb::arg("size"),
        nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"));
}

}  // namespace kinone

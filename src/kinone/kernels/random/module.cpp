// random, as Python calls it. Ranges and dtypes that reference.py would refuse are left to it.
#include "../native/array.hpp"
#include "native.hpp"

#include <cmath>

namespace kinone {
namespace {

bool read(nb::handle number, Size& value) {
  nb::object index = nb::steal(PyNumber_Index(number.ptr()));
  if (index.is_valid()) value = PyLong_AsSize_t(index.ptr());
  bool is_read = !PyErr_Occurred();
  PyErr_Clear();
  return is_read;
}

bool read(nb::handle number, double& value) {
  if (!PyFloat_CheckExact(number.ptr()) && !PyLong_CheckExact(number.ptr())) return false;
  value = PyFloat_AsDouble(number.ptr());
  bool is_read = !PyErr_Occurred() && std::isfinite(value);
  PyErr_Clear();
  return is_read;
}

bool read(nb::handle key, nb::handle step, nb::handle start, nb::handle count, Draw& d) {
  Size words[2] = {}, n = 0;
  if (!read(key[0], words[0]) || !read(key[1], words[1]) || !read(step, d.step) || !read(start, d.start) ||
      !read(count, n))
    return false;
  d.key[0] = words[0], d.key[1] = words[1], d.count = n;
  return d.count >= 0;
}

// 'e', 'f', 'd', or 0
char floating(nb::handle dtype) {
  if (dtype.is_none()) return 0;
  try {
    nb::object found = nb::module_::import_("numpy").attr("dtype")(dtype);
    char type = nb::cast<const char*>(found.attr("char"))[0];
    return nb::cast<bool>(found.attr("isnative")) && (type == 'e' || type == 'f' || type == 'd') ? type : 0;
  } catch (nb::python_error&) {
    return 0;
  }
}

nb::object uniform(nb::handle key, nb::handle step, nb::handle start, nb::handle count, nb::handle dtype,
                   nb::handle low_object, nb::handle high_object) {
  Draw d;
  double low, high;
  char type = floating(dtype);
  double most = type == 'e' ? 65504 : type == 'f' ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
  if (!type || !read(low_object, low) || !read(high_object, high) || !read(key, step, start, count, d))
    return left_to_reference();
  if (!(low < high && std::isfinite(high - low) && -low <= most && high <= most)) return left_to_reference();
  nb::object y = empty("uniform", {d.count}, type == 'f' ? 'f' : 'd');
  Array to(y);
  compute("uniform", d.count, [&] {
    if (type == 'f') return KINONE_CALL(uniform(d, 23, low, high, to.data<float>()));
    KINONE_CALL(uniform(d, type == 'e' ? 10 : 52, low, high, to.data<double>()));
  });
  return as_type(y, type);
}

nb::object normal(nb::handle key, nb::handle step, nb::handle start, nb::handle count, nb::handle dtype,
                  nb::handle mean_object, nb::handle std_object) {
  Draw d;
  double mean, std;
  char type = floating(dtype);
  double most = type == 'e' ? 65504 : type == 'f' ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
  if (!type || !read(mean_object, mean) || !read(std_object, std) || !read(key, step, start, count, d) ||
      !(std >= 0 && std::abs(mean) + 8.3 * std <= most))
    return left_to_reference();
  nb::object y = empty("normal", {d.count}, type == 'f' ? 'f' : 'd');
  Array to(y);
  compute("normal", 8. * d.count, [&] {
    if (type == 'f') return KINONE_CALL(normal(d, mean, std, to.data<float>()));
    KINONE_CALL(normal(d, mean, std, to.data<double>()));
  });
  return as_type(y, type);
}

nb::object bernoulli(nb::handle key, nb::handle step, nb::handle start, nb::handle count, nb::handle p_object) {
  Draw d;
  double p;
  if (!read(p_object, p) || !(p >= 0 && p <= 1) || !read(key, step, start, count, d)) return left_to_reference();
  nb::object y = empty("bernoulli", {d.count}, '?');
  Array to(y);
  compute("bernoulli", d.count, [&] { KINONE_CALL(bernoulli(d, p, to.data<bool>())); });
  return y;
}

nb::object integers(nb::handle key, nb::handle step, nb::handle start, nb::handle count, nb::handle low_object,
                    nb::handle high_object) {
  Draw d;
  if (!PyLong_CheckExact(low_object.ptr()) || !PyLong_CheckExact(high_object.ptr())) return left_to_reference();
  int low_beyond, high_beyond;
  Index low = PyLong_AsLongLongAndOverflow(low_object.ptr(), &low_beyond);
  Index high = PyLong_AsLongLongAndOverflow(high_object.ptr(), &high_beyond);
  if (low_beyond || high_beyond || low >= high || !read(key, step, start, count, d)) return left_to_reference();
  Size span = static_cast<Size>(high) - low;
  if (span > Size{1} << 32) return left_to_reference();
  nb::object y = empty("integers", {d.count}, 'q');
  Array to(y);
  compute("integers", d.count, [&] { KINONE_CALL(integers(d, low, span, to.data<Index>())); });
  return y;
}

// x of any contiguous layout is one row; channels-last, the channels of an image are its rows.
template <class T>
Dropout<T> rows(const Array& x, const Array& y, bool is_channels_last) {
  Dropout<T> m{x.data<T>(), y.data<T>(), 1, 1, x.size(), 0, 1};
  if (!is_channels_last || !x.size()) return m;
  m.outer = x.length(0), m.rows = m.column = x.length(1);
  m.columns = x.size() / (m.outer * m.rows), m.outer_step = m.rows * m.columns;
  return m;
}

nb::object dropout(nb::handle x_object, nb::handle key, nb::handle step, nb::handle p_object) {
  Draw d;
  double p;
  Array given(x_object);
  if (!given.is_floating() || !read(p_object, p) || !(p >= 0 && p < 1) ||
      !read(key, step, nb::int_(0), nb::int_(given.size()), d))
    return left_to_reference();
  char type = given.type;
  Array x = computable(x_object, std::move(given));
  bool is_channels_last = !x.is_contiguous() && x.is_channels_last();
  if (!is_channels_last) x = contiguous(x_object, std::move(x));
  nb::object y = empty("dropout", x.shape(), x.type, is_channels_last ? channels_last(x.axes()) : Shape{});
  Array to(y);
  auto run = [&]<class T>(T) {
    Dropout<T> m = rows<T>(x, to, is_channels_last);
    compute("dropout", d.count, [&] { KINONE_CALL(dropout(d, p, m)); });
  };
  x.type == 'f' ? run(0.0f) : run(0.0);
  return as_type(y, type);
}

}  // namespace

void add_random(nb::module_& m) {
  m.def("uniform", uniform, nb::arg("key"), nb::arg("step"), nb::arg("start"), nb::arg("count"),
        nb::arg("dtype").none(), nb::arg("low") = 0.0, nb::arg("high") = 1.0);
  m.def("normal", normal, nb::arg("key"), nb::arg("step"), nb::arg("start"), nb::arg("count"),
        nb::arg("dtype").none(), nb::arg("mean") = 0.0, nb::arg("std") = 1.0);
  m.def("bernoulli", bernoulli, nb::arg("key"), nb::arg("step"), nb::arg("start"), nb::arg("count"), nb::arg("p"));
  m.def("integers", integers, nb::arg("key"), nb::arg("step"), nb::arg("start"), nb::arg("count"), nb::arg("low"),
        nb::arg("high"));
  m.def("dropout", dropout, nb::arg("x").none(), nb::arg("key"), nb::arg("step"), nb::arg("p"));
}

}  // namespace kinone

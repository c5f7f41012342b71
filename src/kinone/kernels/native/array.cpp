#include "array.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace kinone {
namespace {

// Objects of NumPy's that every call needs. They are never given back: at exit Python goes before they would.
struct Numpy {
  nb::object empty, ascontiguousarray, float16, float32, float64, int64, boolean;

  Numpy() {
    nb::module_ numpy = nb::module_::import_("numpy");
    empty = numpy.attr("empty");
    ascontiguousarray = numpy.attr("ascontiguousarray");
    float16 = numpy.attr("dtype")("float16");
    float32 = numpy.attr("dtype")("float32");
    float64 = numpy.attr("dtype")("float64");
    int64 = numpy.attr("dtype")("int64");
    boolean = numpy.attr("dtype")("bool");
  }

  const nb::object& dtype(char type) const {
    switch (type) {
      case 'e': return float16;
      case 'f': return float32;
      case 'q': return int64;
      case '?': return boolean;
      default: return float64;
    }
  }
};

const Numpy& numpy() {
  static const Numpy& numpy = *new Numpy;
  return numpy;
}

}  // namespace

nb::object left_to_reference() { return nb::borrow(Py_NotImplemented); }

Array::Array(nb::handle object) {
  if (!PyObject_CheckBuffer(object.ptr())) return;
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
    PyErr_Clear();  // an array of dates, say: not for us
    view_.obj = nullptr;
    return;
  }
  const char* format = view_.format ? view_.format : "B";
  if (*format == '@' || *format == '=' || *format == '^') format++;  // NumPy's for this machine's bytes, unaligned
  if (format[1]) return;
  if (*format == 'e' || *format == 'f' || *format == 'd' || *format == '?') type = *format;
  if ((*format == 'q' || *format == 'l') && view_.itemsize == 8) type = 'q';
}

Array::~Array() {
  if (view_.obj) PyBuffer_Release(&view_);
}

// A buffer of NumPy's may be moved: its shape and strides do not lie in it.
Array::Array(Array&& other) noexcept : type(other.type), view_(other.view_) { other.view_.obj = nullptr; }

bool Array::is_aligned() const {
  bool is_aligned = reinterpret_cast<uintptr_t>(view_.buf) % view_.itemsize == 0;
  for (int axis = 0; axis < view_.ndim; axis++) is_aligned &= view_.strides[axis] % view_.itemsize == 0;
  return is_aligned;
}

long Array::size() const {
  return std::accumulate(view_.shape, view_.shape + view_.ndim, 1L, std::multiplies<>());
}

Shape Array::order() const {
  Shape order(view_.ndim);
  std::iota(order.begin(), order.end(), 0);
  Shape step(view_.ndim + 1);  // strides of axes of one number mean nothing: they stay beside their neighbour
  for (int axis = view_.ndim; axis-- > 0;)
    step[axis] = view_.shape[axis] < 2 ? step[axis + 1] : std::abs(view_.strides[axis]);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return step[a] > step[b]; });
  return order;
}

bool Array::is_dense() const {
  Shape order = this->order();
  Py_ssize_t next = view_.itemsize;
  for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
    if (view_.shape[*axis] != 1 && view_.strides[*axis] != next) return false;
    next *= view_.shape[*axis];
  }
  return true;
}

bool Array::is_contiguous() const {
  Py_ssize_t next = view_.itemsize;
  for (int axis = view_.ndim; axis-- > 0; next *= view_.shape[axis])
    if (view_.shape[axis] != 1 && view_.strides[axis] != next) return false;
  return true;
}

Array computable(nb::handle object, Array array) {
  if (array.type == 'e') return Array(object.attr("astype")(numpy().float32));
  return array.is_aligned() ? std::move(array) : Array(object.attr("copy")());
}

Array contiguous(nb::handle object, Array array) {
  bool is_ready = array.type != 'e' && array.is_aligned() && array.is_contiguous();
  if (is_ready) return array;
  return Array(numpy().ascontiguousarray(object, numpy().dtype(array.type == 'e' ? 'f' : array.type)));
}

nb::object empty(const char* where, const Shape& shape, char type, const Shape& order) {
  size_t axes = shape.size();
  nb::object lengths = nb::steal(PyTuple_New(axes));
  for (size_t i = 0; i < axes; i++)
    PyTuple_SetItem(lengths.ptr(), i, PyLong_FromSsize_t(shape[order.empty() ? i : order[i]]));
  nb::object y;
  try {
    y = numpy().empty(lengths, numpy().dtype(type));
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_ValueError)) throw;  // a size that no integer holds is one that no memory does
    PyErr_Format(PyExc_MemoryError, "[%s] expected a result that memory can hold, got shape %S of %S", where,
                 lengths.ptr(), numpy().dtype(type).ptr());
    throw nb::python_error();
  }
  if (order.empty() || std::is_sorted(order.begin(), order.end())) return y;
  nb::object places = nb::steal(PyTuple_New(axes));
  for (size_t i = 0; i < axes; i++) PyTuple_SetItem(places.ptr(), order[i], PyLong_FromSsize_t(i));
  return y.attr("transpose")(places);
}

nb::object empty_like(const char* where, const Array& like, char type) {
  return empty(where, like.shape(), type, like.order());
}

Shape channels_last(int axes) {
  Shape order{0};
  for (int axis = 2; axis < axes; axis++) order.push_back(axis);
  if (axes > 1) order.push_back(1);
  return order;
}

void no_memory(const char* where, size_t bytes) {
  PyErr_Format(PyExc_MemoryError, "[%s] expected %zu bytes of memory to work in, got none", where, bytes);
  throw nb::python_error();
}

nb::object as_type(nb::object y, char type) {
  return type == 'e' ? y.attr("astype")(numpy().float16) : y;
}

}  // namespace kinone

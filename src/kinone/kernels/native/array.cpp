#include "array.hpp"

#include <string>
#include <utility>

namespace kinone {
namespace {

// Objects of NumPy's that every call needs. They are never given back: at exit Python goes before they would.
struct Numpy {
  nb::object empty, float16, float32, float64;

  Numpy() {
    nb::module_ numpy = nb::module_::import_("numpy");
    empty = numpy.attr("empty");
    float16 = numpy.attr("dtype")("float16");
    float32 = numpy.attr("dtype")("float32");
    float64 = numpy.attr("dtype")("float64");
  }

  const nb::object& dtype(char type) const { return type == 'e' ? float16 : type == 'f' ? float32 : float64; }
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
  if ((*format == 'e' || *format == 'f' || *format == 'd') && !format[1]) type = *format;
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

Array computable(nb::handle object, Array array) {
  if (array.type == 'e') return Array(object.attr("astype")(numpy().float32));
  return array.is_aligned() ? std::move(array) : Array(object.attr("copy")());
}

nb::object empty(const char* where, const Shape& shape, char type) {
  nb::object lengths = nb::steal(PyTuple_New(shape.size()));
  for (size_t i = 0; i < shape.size(); i++) PyTuple_SetItem(lengths.ptr(), i, PyLong_FromSsize_t(shape[i]));
  try {
    return numpy().empty(lengths, numpy().dtype(type));
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_ValueError)) throw;  // a size that no integer holds is one that no memory does
    PyErr_Format(PyExc_MemoryError, "[%s] expected a result that memory can hold, got shape %S of %S", where,
                 lengths.ptr(), numpy().dtype(type).ptr());
    throw nb::python_error();
  }
}

nb::object as_type(nb::object y, char type) {
  return type == 'e' ? y.attr("astype")(numpy().float16) : y;
}

}  // namespace kinone

#include "array.hpp"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "allocator.hpp"

namespace kinone {
namespace {

int number_of(char type) {
  switch (type) {
    case 'e': return NPY_FLOAT16;
    case 'f': return NPY_FLOAT32;
    case 'q': return NPY_INT64;
    case '?': return NPY_BOOL;
    default: return NPY_FLOAT64;
  }
}

char type_of(PyArrayObject* array) {
  if (PyArray_ISBYTESWAPPED(array)) return 0;
  switch (PyArray_TYPE(array)) {
    case NPY_HALF: return 'e';
    case NPY_FLOAT: return 'f';
    case NPY_DOUBLE: return 'd';
    case NPY_BOOL: return '?';
    case NPY_LONG:
    case NPY_LONGLONG: return PyArray_ITEMSIZE(array) == 8 ? 'q' : 0;
    default: return 0;
  }
}

PyArrayObject* array_of(nb::handle object) { return reinterpret_cast<PyArrayObject*>(object.ptr()); }

// The object itself, or an array of the scalar that NumPy made of one without axes.
nb::object array_or_scalar(nb::handle object) {
  bool is_scalar = PyArray_IsScalar(object.ptr(), Generic);
  return is_scalar ? nb::steal(PyArray_FromScalar(object.ptr(), nullptr)) : nb::borrow(object);
}

nb::object converted(nb::handle object, char type, int flags) {
  PyArray_Descr* descr = PyArray_DescrFromType(number_of(type));
  nb::object array = array_or_scalar(object);
  return nb::steal(PyArray_FromArray(array_of(array), descr, flags | NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED));
}

}  // namespace

void import_numpy() {
  if (_import_array() < 0) throw nb::python_error();
}

nb::object left_to_reference() { return nb::borrow(Py_NotImplemented); }

Array::Array(nb::handle object) {
  nb::object found = array_or_scalar(object);
  if (!PyArray_Check(found.ptr())) return;
  object_ = found;
  PyArrayObject* array = array_of(found);
  type = type_of(array);
  data_ = PyArray_DATA(array);
  lengths_ = PyArray_DIMS(array), strides_ = PyArray_STRIDES(array);
  axes_ = PyArray_NDIM(array), bytes_ = std::max<int>(PyArray_ITEMSIZE(array), 1);
}

bool Array::is_aligned() const {
  bool is_aligned = reinterpret_cast<uintptr_t>(data_) % bytes_ == 0;
  for (int axis = 0; axis < axes_; axis++) is_aligned &= strides_[axis] % bytes_ == 0;
  return is_aligned;
}

bool Array::is_writeable() const { return object_ && PyArray_ISWRITEABLE(array_of(object_)); }

Index Array::size() const { return std::accumulate(lengths_, lengths_ + axes_, Index{1}, std::multiplies<>()); }

Shape Array::order() const {
  Shape order(axes_);
  std::iota(order.begin(), order.end(), 0);
  if (is_contiguous()) return order;
  Shape step(axes_ + 1);  // strides of axes of one number mean nothing: they stay beside their neighbour
  for (int axis = axes_; axis-- > 0;) step[axis] = lengths_[axis] < 2 ? step[axis + 1] : std::abs(strides_[axis]);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return step[a] > step[b]; });
  return order;
}

bool Array::is_dense() const {
  Shape order = this->order();
  Py_ssize_t next = bytes_;
  for (auto axis = order.rbegin(); axis != order.rend(); next *= lengths_[*axis++])
    if (lengths_[*axis] != 1 && strides_[*axis] != next) return false;
  return true;
}

bool Array::is_contiguous() const {
  Py_ssize_t next = bytes_;
  for (int axis = axes_; axis-- > 0; next *= lengths_[axis])
    if (lengths_[axis] != 1 && strides_[axis] != next) return false;
  return true;
}

bool Array::is_channels_last() const {
  if (axes_ < 3) return false;
  Shape order = kinone::channels_last(axes_);
  Index next = 1;
  for (auto axis = order.rbegin(); axis != order.rend(); next *= length(*axis++))
    if (length(*axis) != 1 && stride(*axis) != next) return false;
  return true;
}

Array computable(nb::handle object, Array array) {
  if (array.type == 'e') return Array(converted(object, 'f', 0));
  return array.is_aligned() ? std::move(array) : Array(converted(object, array.type, NPY_ARRAY_ENSURECOPY));
}

Array contiguous(nb::handle object, Array array) {
  bool is_ready = array.type != 'e' && array.is_aligned() && array.is_contiguous();
  return is_ready ? std::move(array) : Array(converted(object, array.type == 'e' ? 'f' : array.type, NPY_ARRAY_C_CONTIGUOUS));
}

nb::object empty(const char* where, const Shape& shape, char type, const Shape& order) {
  use_allocator();
  int axes = static_cast<int>(shape.size());
  PyArray_Descr* descr = PyArray_DescrFromType(number_of(type));
  Py_ssize_t next = PyDataType_ELSIZE(descr);
  Shape strides(axes);
  bool is_too_large = false;
  for (int i = axes; i-- > 0;) {
    Py_ssize_t axis = order.empty() ? i : order[i];
    strides[axis] = next;
    is_too_large |= __builtin_mul_overflow(next, std::max<Py_ssize_t>(shape[axis], 1), &next);
  }
  PyObject* y = nullptr;
  if (is_too_large) {  // a size that no integer holds is one that no memory does
    Py_DECREF(descr);
    nb::object lengths = nb::steal(PyTuple_New(axes));
    for (int i = 0; i < axes; i++) PyTuple_SetItem(lengths.ptr(), i, PyLong_FromSsize_t(shape[i]));
    PyErr_Format(PyExc_MemoryError, "[%s] expected a result that memory can hold, got shape %S", where, lengths.ptr());
  } else {
    y = PyArray_NewFromDescr(&PyArray_Type, descr, axes, shape.data(), strides.data(), nullptr, 0, nullptr);
  }
  if (!y) throw nb::python_error();
  return nb::steal(y);
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
  bool is_it = PyArray_TYPE(array_of(y)) == number_of(type);
  return is_it ? y : converted(y, type, NPY_ARRAY_FORCECAST);
}

nb::object doubles(nb::handle object) { return converted(object, 'd', NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ENSURECOPY); }

}  // namespace kinone

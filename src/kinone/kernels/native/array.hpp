// NumPy's arrays as kernels see them, through Python's buffer protocol: nothing is copied, and whatever is not an array
// of floating-point numbers is left to the reference.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

namespace kinone {

namespace nb = nanobind;
using Shape = std::vector<Py_ssize_t>;

// NotImplemented: the reference serves this call.
nb::object left_to_reference();

// A view of an array; `type` is 'e', 'f' or 'd' for float16, float32 and float64, 0 if it is none of these.
class Array {
 public:
  explicit Array(nb::handle object);
  ~Array();
  Array(Array&& other) noexcept;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  char type = 0;
  int axes() const { return view_.ndim; }
  long length(int axis) const { return view_.shape[axis < 0 ? axis + view_.ndim : axis]; }
  // The numbers from one to the next along the axis.
  long stride(int axis) const { return view_.strides[axis < 0 ? axis + view_.ndim : axis] / view_.itemsize; }
  template <class T>
  T* data() const {
    return static_cast<T*>(view_.buf);
  }
  bool is_aligned() const;

 private:
  Py_buffer view_{};
};

// A view that a kernel can compute on: float16 as float32, and a copy of what no pointer to numbers can step through.
Array computable(nb::handle object, Array array);

// A new array for a result.
nb::object empty(const char* where, const Shape& shape, char type);

// y as float16 if the operands were.
nb::object as_type(nb::object y, char type);

}  // namespace kinone

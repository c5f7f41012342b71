// NumPy's arrays as kernels see them: nothing is copied, and whatever a kernel does not serve is left to the reference.
//
// An image is NCHW to whoever looks at its shape, and channels-last in memory: the strides say so. Kernels take any
// strides; their results lie as their first operand does (`empty_like`) or as the family decides (`empty`, with the
// order of axes in memory). What is computed never depends on how an array lies.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "pool.hpp"

namespace kinone {

namespace nb = nanobind;
using Shape = std::vector<Py_ssize_t>;

// NotImplemented: the reference serves this call.
nb::object left_to_reference();

// A view of an array, which it keeps alive.
class Array {
 public:
  explicit Array(nb::handle object);

  char type = 0;  // 'e', 'f' or 'd': float16, float32, float64; 'q': int64; '?': bool; 0: none of these, or no array
  bool is_floating() const { return type == 'e' || type == 'f' || type == 'd'; }
  int axes() const { return axes_; }
  Index length(int axis) const { return lengths_[axis < 0 ? axis + axes_ : axis]; }
  // The numbers from one to the next along the axis.
  Index stride(int axis) const { return strides_[axis < 0 ? axis + axes_ : axis] / bytes_; }
  Index size() const;
  Shape shape() const { return Shape(lengths_, lengths_ + axes_); }
  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  bool is_aligned() const;
  bool is_writeable() const;
  // The axes from the one whose numbers lie furthest apart to the one whose numbers lie side by side.
  Shape order() const;
  // Whether the array fills its memory without gaps or repetition, in whatever order.
  bool is_dense() const;
  bool is_contiguous() const;  // in the order of its axes
  bool is_channels_last() const;  // an image (batch, channels, *size), without gaps in the order (batch, *size, channels)

 private:
  nb::object object_;
  void* data_ = nullptr;
  const Py_ssize_t *lengths_ = nullptr, *strides_ = nullptr;
  int axes_ = 0, bytes_ = 1;
};

// A view that a kernel can compute on: float16 as float32, and a copy of what no pointer to numbers can step through.
Array computable(nb::handle object, Array array);

// The same, in the order of its axes without gaps, copied only if it is not so already.
Array contiguous(nb::handle object, Array array);

// A new array for a result. `order`: its axes as they lie in memory, see Array::order; by default as they are numbered.
nb::object empty(const char* where, const Shape& shape, char type, const Shape& order = {});

// A new array of that shape and layout.
nb::object empty_like(const char* where, const Array& like, char type);

// The order of an image's axes in memory, (batch, *size, channels), for an NCHW face with `axes` axes.
Shape channels_last(int axes);

// To be called once, when the module is loaded.
void import_numpy();

// y rounded to another type, if it is of another: to float16, say, if the operands were.
nb::object as_type(nb::object y, char type);

// A copy in float64, in the order of its axes.
nb::object doubles(nb::handle object);

[[noreturn]] void no_memory(const char* where, size_t bytes);

// Calls f with the arithmetic that the profile asks for, without Python's lock if there is much to do: `work` is the
// number of operations, roughly.
template <class F>
void compute(const char* where, double work, const F& f) {
  constexpr double quick = 1e5;  // what is done before other Python threads would notice
  Arithmetic arithmetic;
  try {
    if (work > quick) {
      nb::gil_scoped_release released;
      f();
    } else {
      f();
    }
  } catch (const OutOfMemory& error) {
    no_memory(where, error.bytes);
  }
}

}  // namespace kinone

// The functions of one element at a time, as Python calls them: operands are broadcast here; NotImplemented leaves a
// call to reference.py.
#include "../native/array.hpp"
#include "native.hpp"

#include <cstring>
#include <vector>

namespace kinone {
namespace {

using Part = Kernels (*)();

// Part of the table in the instruction set in use, and a kernel's place in it.
struct Place {
  Kernels (*part)();
  int row;
  const Kernel& operator*() const { return part().first[row]; }
};

// An array, or a Python number, which takes the arrays' type.
struct Operand {
  char type = 0;  // of the array that was given
  Array array;
  double number = 0;
  bool is_number = false;

  explicit Operand(nb::handle object) : array(usable(object, type)) {
    if (PyFloat_CheckExact(object.ptr())) {
      number = PyFloat_AsDouble(object.ptr());
      is_number = true;
    } else if (PyLong_CheckExact(object.ptr())) {
      number = PyLong_AsDouble(object.ptr());
      is_number = !PyErr_Occurred();
      PyErr_Clear();
    }
  }

 private:
  static Array usable(nb::handle object, char& type) {
    Array array(object);
    type = array.type;
    return array.is_floating() ? computable(object, std::move(array)) : std::move(array);
  }
};

// The shape to which the arrays broadcast; false if they don't.
bool broadcast(const std::vector<Operand>& operands, Shape& shape) {
  size_t axes = 0;
  for (const Operand& x : operands) axes = std::max<size_t>(axes, x.is_number ? 0 : x.array.axes());
  shape.assign(axes, 1);
  for (const Operand& x : operands)
    for (int axis = 1; !x.is_number && axis <= x.array.axes(); axis++) {
      Py_ssize_t length = x.array.length(x.array.axes() - axis), &common = shape[axes - axis];
      if (length != 1 && common != 1 && length != common) return false;
      if (length != 1) common = length;
    }
  return true;
}

// y as the first operand of the whole shape lies.
Shape order_in_memory(const std::vector<Operand>& operands, const Shape& shape) {
  for (const Operand& x : operands)
    if (!x.is_number && x.array.shape() == shape) return x.array.order();
  return {};
}

template <class T>
void run(const char* where, void (*kernel)(const Elements<T>&), const std::vector<Operand>& operands,
         const Shape& order, const Array& y) {
  Elements<T> e{};
  T numbers[Elements<T>::most];
  e.count = y.size();
  if (!e.count) return;
  e.y = y.data<T>();
  for (size_t i = 0; i < operands.size(); i++) {
    numbers[i] = static_cast<T>(operands[i].number);
    e.x[i] = operands[i].is_number ? numbers + i : operands[i].array.data<T>();
  }
  for (int j = 0; j < y.axes(); j++) {
    int axis = order.empty() ? j : order[j];
    Index length = y.length(axis);
    if (length == 1) continue;
    bool goes_on = e.axes;  // whether each operand goes on from one to the next as from an end to a beginning
    Index stride[Elements<T>::most];
    for (size_t i = 0; i < operands.size(); i++) {
      const Array& x = operands[i].array;
      int own = axis - y.axes() + x.axes();
      stride[i] = operands[i].is_number || own < 0 || x.length(own) == 1 ? 0 : x.stride(own);
      goes_on = goes_on && e.stride[i][e.axes - 1] == length * stride[i];
    }
    if (!goes_on) e.shape[e.axes++] = 1;
    e.shape[e.axes - 1] *= length;
    for (size_t i = 0; i < operands.size(); i++) e.stride[i][e.axes - 1] = stride[i];
  }
  compute(where, 10.0 * e.count, [&] { kernel(e); });
}

nb::object call(const Kernel& kernel, std::initializer_list<nb::handle> objects) {
  std::vector<Operand> operands;
  operands.reserve(objects.size());
  char type = 0;
  for (nb::handle object : objects) {
    Operand& x = operands.emplace_back(object);
    if (x.is_number) continue;
    if (!x.array.is_floating() || (type && x.type != type)) return left_to_reference();
    type = x.type;
  }
  Shape shape;
  if (!type || !broadcast(operands, shape)) return left_to_reference();
  Shape order = order_in_memory(operands, shape);
  nb::object result = empty(kernel.name, shape, type == 'd' ? 'd' : 'f', order);
  Array y(result);
  if (type == 'd')
    run(kernel.name, kernel.in_double, operands, order, y);
  else
    run(kernel.name, kernel.in_float, operands, order, y);
  return as_type(result, type);
}

nb::object power(nb::handle a, nb::handle b) {
  const Kernel* powers = KINONE_CALL(powers()).first;
  bool is_number = PyFloat_CheckExact(b.ptr()) || PyLong_CheckExact(b.ptr());
  return is_number && Operand(b).number == 2 ? call(powers[1], {a}) : call(powers[0], {a, b});
}

// Each kernel of a part of the table, under its name.
void add(nb::module_& m, Part part) {
  for (int row = 0; row < part().count; row++) {
    Place place{part, row};
    auto [first, second, third, fourth] = (*place).operands;
    if (fourth)
      m.def((*place).name,
            [place](nb::handle a, nb::handle b, nb::handle c, nb::handle d) { return call(*place, {a, b, c, d}); },
            nb::arg(first).none(), nb::arg(second).none(), nb::arg(third).none(), nb::arg(fourth).none());
    else if (third)
      m.def((*place).name, [place](nb::handle a, nb::handle b, nb::handle c) { return call(*place, {a, b, c}); },
            nb::arg(first).none(), nb::arg(second).none(), nb::arg(third).none());
    else if (second)
      m.def((*place).name, [place](nb::handle a, nb::handle b) { return call(*place, {a, b}); },
            nb::arg(first).none(), nb::arg(second).none());
    else
      m.def((*place).name, [place](nb::handle a) { return call(*place, {a}); }, nb::arg(first).none());
  }
}

const Kernel& with_parameters(int row) { return KINONE_CALL(with_parameters()).first[row]; }

bool is_by_tanh(nb::str approximate) { return !std::strcmp(approximate.c_str(), "tanh"); }

void add_with_parameters(nb::module_& m) {
  m.def("softplus", [](nb::handle x, nb::handle beta) { return call(with_parameters(0), {x, beta}); },
        nb::arg("x").none(), nb::arg("beta") = 1.0);
  m.def("softplus_backward",
        [](nb::handle g, nb::handle x, nb::handle beta) { return call(with_parameters(1), {g, x, beta}); },
        nb::arg("g").none(), nb::arg("x").none(), nb::arg("beta") = 1.0);
  m.def("gelu_forward", [](nb::handle x, nb::str how) { return call(with_parameters(2 + is_by_tanh(how)), {x}); },
        nb::arg("x").none(), nb::arg("approximate"));
  m.def("gelu_backward",
        [](nb::handle g, nb::handle x, nb::str how) { return call(with_parameters(4 + is_by_tanh(how)), {g, x}); },
        nb::arg("g").none(), nb::arg("x").none(), nb::arg("approximate"));
}

}  // namespace

void add_elementwise(nb::module_& m) {
  add(m, [] { return KINONE_CALL(exponentials()); });
  add(m, [] { return KINONE_CALL(activations()); });
  add_with_parameters(m);
  add(m, [] { return KINONE_CALL(trigonometric()); });
  add(m, [] { return KINONE_CALL(inverses()); });
  m.def("power", power, nb::arg("a").none(), nb::arg("b").none());
  add(m, [] { return KINONE_CALL(cross_entropies()); });
}

}  // namespace kinone

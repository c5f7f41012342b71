// The recurrent kernels as Python calls them: shapes are checked here, and NotImplemented leaves a call to reference.py.
#include <nanobind/stl/string.h>

#include <cstring>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// The arrays of a call, kept while a kernel works on them; whether all are of one type and of the shapes they must have.
template <class T>
class Given {
 public:
  bool fits = true;

  const T* take(nb::handle object, const Shape& shape) {
    const Array* array = add(object, shape, contiguous);
    return array ? array->data<T>() : nullptr;
  }
  const T* take_if_given(nb::handle object, const Shape& shape) {
    return object.is_none() ? nullptr : take(object, shape);
  }

  // Null for zeros that take no memory, which are what an output that nobody used has as its cotangent.
  const T* cotangent(nb::handle object, const Shape& shape) {
    Array given(object);
    bool is_one_number = given.type == type && given.shape() == shape && given.size() > 0;
    for (int axis = 0; is_one_number && axis < given.axes(); axis++)
      is_one_number = given.length(axis) == 1 || given.stride(axis) == 0;
    const T zero = 0;
    return is_one_number && !std::memcmp(given.data<T>(), &zero, sizeof(T)) ? nullptr : take(object, shape);
  }

  void layer(Layer<T>& r, Cell cell, nb::handle w_hh, nb::handle lengths, bool is_reversed, const Shape& shape) {
    r.cell = cell, r.is_reversed = is_reversed;
    r.steps = shape[0], r.batch = shape[1], r.size = shape[2];
    if (const Array* w = add(w_hh, {gates_of(cell) * r.size, r.size}, computable))
      r.w = w->data<T>(), r.w_row = w->stride(0), r.w_k = w->stride(1);
    if (lengths.is_none()) return;
    Array given(lengths);
    if (given.type != 'q' || given.shape() != Shape{r.batch}) fits = false;
    else r.lengths = kept_.emplace_back(contiguous(lengths, std::move(given))).template data<Index>();
  }

 private:
  static constexpr char type = sizeof(T) == 4 ? 'f' : 'd';
  std::vector<Array> kept_;

  const Array* add(nb::handle object, const Shape& shape, Array (*ready)(nb::handle, Array)) {
    Array given(object);
    if (given.type != type || given.shape() != shape) {
      fits = false;
      return nullptr;
    }
    return &kept_.emplace_back(ready(object, std::move(given)));
  }
};

// A new array, and where its numbers are.
template <class T>
nb::object make(const char* where, const Shape& shape, T*& data) {
  nb::object made = empty(where, shape, sizeof(T) == 4 ? 'f' : 'd');
  data = Array(made).data<T>();
  return made;
}

template <class T>
void run(const char* where, const Layer<T>& r, const auto& kernel) {
  compute(where, static_cast<double>(r.steps) * r.batch * r.size * r.size * gates_of(r.cell), kernel);
}

template <class T>
nb::object forward_of(const char* where, Cell cell, nb::handle p, nb::handle h0, nb::handle c0, nb::handle w_hh,
                      nb::handle b_hh, nb::handle lengths, bool is_reversed) {
  Array first(h0), products(p);
  if (first.axes() != 2 || products.axes() != 3) return left_to_reference();
  Shape shape{products.length(0), first.length(0), first.length(1)}, state = first.shape();
  Forward<T> r{};
  Given<T> given;
  given.layer(r, cell, w_hh, lengths, is_reversed, shape);
  Index wide = gates_of(cell) * r.size;
  r.p = given.take(p, {r.steps, r.batch, wide}), r.h0 = given.take(h0, state);
  r.c0 = given.take_if_given(c0, state), r.bias = given.take_if_given(b_hh, {wide});
  if (!given.fits) return left_to_reference();

  nb::object y = make(where, shape, r.y), h = make(where, state, r.h), c, gates;
  if (cell == Cell::lstm) c = make(where, state, r.c);
  if (kept_of(cell)) gates = make(where, {r.steps, r.batch, kept_of(cell), r.size}, r.gates);
  run(where, r, [&] { KINONE_CALL(forward(r)); });
  if (cell == Cell::lstm) return nb::make_tuple(y, h, c, gates);
  return cell == Cell::gru ? nb::make_tuple(y, h, gates) : nb::make_tuple(y, h);
}

// What the cells have in common; `more` takes what each has besides.
template <class T>
nb::object backward_of(const char* where, Cell cell, nb::handle g, nb::handle g_h, nb::handle w_hh, nb::handle lengths,
                       bool is_reversed, const auto& more) {
  Array cotangent(g);
  if (cotangent.axes() != 3) return left_to_reference();
  Shape shape = cotangent.shape(), state{shape[1], shape[2]};
  Backward<T> r{};
  Given<T> given;
  given.layer(r, cell, w_hh, lengths, is_reversed, shape);
  r.g = given.cotangent(g, shape), r.g_h = given.cotangent(g_h, state);
  more(r, given, shape, state);
  if (!given.fits) return left_to_reference();

  Shape wide{r.steps, r.batch, gates_of(cell) * r.size};
  nb::object gp = make(where, wide, r.gp), gh = make(where, state, r.gh), gq, gc;
  if (cell == Cell::gru) gq = make(where, wide, r.gq);
  if (cell == Cell::lstm) gc = make(where, state, r.gc);
  run(where, r, [&] { KINONE_CALL(backward(r)); });
  if (cell == Cell::lstm) return nb::make_tuple(gp, gh, gc);
  return cell == Cell::gru ? nb::make_tuple(gp, gq, gh) : nb::make_tuple(gp, gh);
}

// f(number of the type that the array holds)
nb::object typed(nb::handle array, const auto& f) {
  char type = Array(array).type;
  return type == 'f' ? f(0.0f) : type == 'd' ? f(0.0) : left_to_reference();
}

// Which of the two, if it is one.
bool is_nonlinearity(const std::string& name) { return name == "tanh" || name == "relu"; }
Cell simple(const std::string& name) { return name == "relu" ? Cell::relu : Cell::tanh; }

nb::object rnn_forward(nb::handle p, nb::handle h0, nb::handle w_hh, nb::handle b_hh, nb::handle lengths,
                       const std::string& nonlinearity, bool is_reversed) {
  if (!is_nonlinearity(nonlinearity)) return left_to_reference();
  return typed(p, [&](auto x) {
    return forward_of<decltype(x)>("rnn_forward", simple(nonlinearity), p, h0, nb::none(), w_hh, b_hh, lengths,
                                   is_reversed);
  });
}

nb::object gru_forward(nb::handle p, nb::handle h0, nb::handle w_hh, nb::handle b_hh, nb::handle lengths,
                       bool is_reversed) {
  return typed(p, [&](auto x) {
    return forward_of<decltype(x)>("gru_forward", Cell::gru, p, h0, nb::none(), w_hh, b_hh, lengths, is_reversed);
  });
}

nb::object lstm_forward(nb::handle p, nb::handle h0, nb::handle c0, nb::handle w_hh, nb::handle b_hh,
                        nb::handle lengths, bool is_reversed) {
  if (c0.is_none()) return left_to_reference();
  return typed(p, [&](auto x) {
    return forward_of<decltype(x)>("lstm_forward", Cell::lstm, p, h0, c0, w_hh, b_hh, lengths, is_reversed);
  });
}

nb::object rnn_backward(nb::handle g, nb::handle g_h, nb::handle w_hh, nb::handle lengths, nb::handle y,
                        const std::string& nonlinearity, bool is_reversed) {
  if (!is_nonlinearity(nonlinearity)) return left_to_reference();
  return typed(g, [&](auto x) {
    auto more = [&](auto& r, auto& given, const Shape& shape, const Shape&) { r.y = given.take(y, shape); };
    return backward_of<decltype(x)>("rnn_backward", simple(nonlinearity), g, g_h, w_hh, lengths, is_reversed, more);
  });
}

nb::object gru_backward(nb::handle g, nb::handle g_h, nb::handle g_gates, nb::handle h0, nb::handle w_hh,
                        nb::handle lengths, nb::handle y, nb::handle gates, bool is_reversed) {
  return typed(g, [&](auto x) {
    auto more = [&](auto& r, auto& given, const Shape& shape, const Shape& state) {
      Shape kept{shape[0], shape[1], kept_of(Cell::gru), shape[2]};
      r.g_gates = given.cotangent(g_gates, kept), r.gates = given.take(gates, kept);
      r.h0 = given.take(h0, state), r.y = given.take(y, shape);
    };
    return backward_of<decltype(x)>("gru_backward", Cell::gru, g, g_h, w_hh, lengths, is_reversed, more);
  });
}

nb::object lstm_backward(nb::handle g, nb::handle g_h, nb::handle g_c, nb::handle g_gates, nb::handle c0,
                         nb::handle w_hh, nb::handle lengths, nb::handle gates, bool is_reversed) {
  return typed(g, [&](auto x) {
    auto more = [&](auto& r, auto& given, const Shape& shape, const Shape& state) {
      Shape kept{shape[0], shape[1], kept_of(Cell::lstm), shape[2]};
      r.g_gates = given.cotangent(g_gates, kept), r.gates = given.take(gates, kept);
      r.g_c = given.cotangent(g_c, state), r.c0 = given.take(c0, state);
    };
    return backward_of<decltype(x)>("lstm_backward", Cell::lstm, g, g_h, w_hh, lengths, is_reversed, more);
  });
}

}  // namespace

void add_recurrent(nb::module_& m) {
  auto none = [](const char* name) { return nb::arg(name).none(); };
  m.def("rnn_forward", rnn_forward, none("p"), none("h0"), none("w_hh"), none("b_hh"), none("lengths"),
        nb::arg("nonlinearity"), nb::arg("is_reversed"));
  m.def("rnn_backward", rnn_backward, none("g"), none("g_h"), none("w_hh"), none("lengths"), none("y"),
        nb::arg("nonlinearity"), nb::arg("is_reversed"));
  m.def("gru_forward", gru_forward, none("p"), none("h0"), none("w_hh"), none("b_hh"), none("lengths"),
        nb::arg("is_reversed"));
  m.def("gru_backward", gru_backward, none("g"), none("g_h"), none("g_gates"), none("h0"), none("w_hh"),
        none("lengths"), none("y"), none("gates"), nb::arg("is_reversed"));
  m.def("lstm_forward", lstm_forward, none("p"), none("h0"), none("c0"), none("w_hh"), none("b_hh"), none("lengths"),
        nb::arg("is_reversed"));
  m.def("lstm_backward", lstm_backward, none("g"), none("g_h"), none("g_c"), none("g_gates"), none("c0"),
        none("w_hh"), none("lengths"), none("gates"), nb::arg("is_reversed"));
}

}  // namespace kinone

// Normalizations as Python calls them: `axes` is a tuple of axes from the front; w and b are None or broadcast to x.
#include <array>
#include <numeric>
#include <string>

#include <nanobind/stl/string.h>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {

void add_softmax(nb::module_& m);                                 // in module_softmax.cpp
nb::object sum(nb::handle x, nb::handle axis, bool keepdims);  // of the family reduction

namespace {

// An array of that shape, to which it is broadcast, and order in memory; copied only if it does not lie so already.
Array laid_out(const char* where, nb::handle object, const Shape& shape, char type, const Shape& order) {
  Array given(object);
  Index leading = Index(shape.size()) - given.axes(), next = 1;
  bool is_ready = given.type == type && given.is_aligned() && leading >= 0;
  for (auto axis = order.rbegin(); axis != order.rend() && is_ready; next *= shape[*axis++]) {
    Index i = *axis - leading;
    is_ready = shape[*axis] == (i < 0 ? 1 : given.length(i)) && (shape[*axis] == 1 || given.stride(i) == next);
  }
  if (is_ready) return given;
  nb::object copy = empty(where, shape, type, order);
  copy.attr("__setitem__")(nb::ellipsis(), object);
  return Array(copy);
}

// What all of the kernels prepare: x without gaps in memory, the axes, and where in memory everything else lies.
struct Call {
  const char* where;
  bool is_ours = false;
  char given_type = 0;
  std::vector<Array> kept_alive;
  Shape shape, order, statistics_shape, weights_shape;
  Weights weights = Weights::own;
  std::vector<bool> is_reduced;
  char type = 0;

  Call(const char* where, nb::handle x, nb::handle axes) : where(where) {
    Array given(x);
    if (!given.is_floating() || !nb::isinstance<nb::tuple>(axes)) return;
    is_ours = true;
    given_type = given.type;
    type = given.type == 'e' ? 'f' : given.type;
    shape = statistics_shape = given.shape();
    order = given.order();
    is_reduced.resize(shape.size());
    for (nb::handle axis : nb::borrow<nb::tuple>(axes)) is_reduced.at(nb::cast<int>(axis)) = true;
    for (size_t i = 0; i < shape.size(); i++)
      if (is_reduced[i]) statistics_shape[i] = 1;
  }

  // The shape of w or b, with leading ones; says how they vary. False if they do not broadcast, or not alike.
  bool takes(nb::handle weights_object) {
    if (weights_object.is_none()) return true;
    Array given(weights_object);
    if (given.type != given_type || given.axes() > Index(shape.size())) return false;
    Shape padded(shape.size() - given.axes(), 1);
    for (Py_ssize_t length : given.shape()) padded.push_back(length);
    if (!weights_shape.empty() && padded != weights_shape) return false;
    weights_shape = padded;
    bool is_own = true, is_each = true, has_kept_ended = false;
    for (size_t i = 0; i < shape.size(); i++) {
      if (padded[i] != 1 && padded[i] != shape[i]) return false;
      is_own &= padded[i] == statistics_shape[i];
      is_each &= padded[i] == (is_reduced[i] ? shape[i] : 1) && !(has_kept_ended && !is_reduced[i]);
      has_kept_ended |= is_reduced[i];
    }
    weights = is_own ? Weights::own : is_each ? Weights::each : Weights::mixed;
    return true;
  }

  // Rows are taken as they follow each other in memory.
  void make_contiguous() { std::iota(order.begin(), order.end(), 0); }

  template <class T>
  const T* in(nb::handle object, const Shape& as) {
    if (object.is_none()) return nullptr;
    kept_alive.push_back(laid_out(where, object, as, type, order));
    return kept_alive.back().data<T>();
  }

  template <class T>
  T* out(nb::object& y, const Shape& as) {
    y = empty(where, as, type, order);
    return Array(y).data<T>();
  }

  template <class T>
  Norm<T> norm(nb::handle x, nb::handle w, nb::handle b, double eps, bool is_centred, Activation activation) {
    Norm<T> n{};
    n.eps = eps, n.is_centred = is_centred, n.activation = activation, n.weights = weights;
    n.x = in<T>(x, shape), n.w = in<T>(w, weights_shape), n.b = in<T>(b, weights_shape);
    std::vector<std::array<Index, 3>> steps(shape.size());
    Index next[3] = {1, 1, 1};
    for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
      Index i = *axis, lengths[] = {shape[i], statistics_shape[i], weights_shape.empty() ? 1 : weights_shape[i]};
      for (int way = 0; way < 3; way++) {
        steps[i][way] = lengths[way] == 1 ? 0 : next[way];
        next[way] *= lengths[way];
      }
    }
    auto add = [&](Axes<3>& axes, Index i) { append(axes, shape[i], {steps[i][0], steps[i][1], steps[i][2]}); };
    for (auto i : order) {
      add(n.all, i);
      if (!is_reduced[i]) add(n.kept, i);
    }
    for (size_t i = 0; i < shape.size(); i++)
      if (is_reduced[i]) add(n.reduced, i);
    return n;
  }

  double work() const {
    double n = 1;
    for (Py_ssize_t length : shape) n *= length;
    return n;
  }

  nb::object result(nb::object y) const { return y.is_valid() ? as_type(y, given_type) : nb::none(); }
};

bool is_known(const std::string& name) { return name == "none" || name == "relu" || name == "silu"; }

Activation activation_of(const std::string& name) {
  return name == "silu" ? Activation::silu : name == "relu" ? Activation::relu : Activation::none;
}

template <class T>
nb::object forward(Call& call, nb::handle x, nb::handle w, nb::handle b, double eps, bool is_centred,
                        nb::handle residual, Activation activation) {
  Norm<T> n = call.norm<T>(x, w, b, eps, is_centred, activation);
  n.residual = call.in<T>(residual, call.shape);
  nb::object y, mean, var;
  n.y = call.out<T>(y, call.shape);
  n.var = call.out<T>(var, call.statistics_shape);
  if (is_centred) {
    n.mean = call.out<T>(mean, call.statistics_shape);
  } else {
    mean = empty(call.where, {}, call.type);
    *Array(mean).data<T>() = 0;
  }
  compute(call.where, call.work(), [&] { KINONE_CALL(norm_forward(n)); });
  return nb::make_tuple(call.result(y), call.result(mean), call.result(var));
}

nb::object norm_forward(nb::handle x, nb::handle w, nb::handle b, nb::handle axes, double eps, bool is_centred,
                        nb::handle residual, const std::string& activation) {
  Call call("norm_forward", x, axes);
  if (!call.is_ours || !call.takes(w) || !call.takes(b) || !is_known(activation)) return left_to_reference();
  auto f = call.type == 'f' ? forward<float> : forward<double>;
  return f(call, x, w, b, eps, is_centred, residual, activation_of(activation));
}

// A statistic's gradient, or none for the number 0.
template <class T>
const T* gradient_of_statistic(Call& call, nb::handle g) {
  if (!Array(g).type && nb::isinstance<nb::float_>(g) && nb::cast<double>(g) == 0) return nullptr;
  return call.in<T>(g, call.statistics_shape);
}

// Σ over the axes along which the weights have one number, as w is laid out.
nb::object summed(const Call& call, nb::handle terms) {
  nb::list axes;
  for (size_t i = 0; i < call.shape.size(); i++)
    if (call.weights_shape[i] == 1) axes.append(i);
  return sum(terms, nb::tuple(axes), true);
}

// What backward is given where an activation made y: relu's y, or that of which silu's z is computed again.
struct Made {
  nb::handle y, mean, var, residual;

  Activation activation() const {
    return !y.is_none() ? Activation::relu : !mean.is_none() ? Activation::silu : Activation::none;
  }
  template <class T>
  void add(Norm<T>& n, Call& call) const {
    n.y = const_cast<T*>(call.in<T>(y, call.shape));
    if (activation() != Activation::silu) return;
    n.mean = const_cast<T*>(call.in<T>(mean, call.statistics_shape));
    n.var = const_cast<T*>(call.in<T>(var, call.statistics_shape));
    n.residual = call.in<T>(residual, call.shape);
  }
};

template <class T>
nb::object backward(Call& call, nb::handle g, nb::handle x, nb::handle w, nb::handle b, double eps, bool is_centred,
                    nb::handle g_mean, nb::handle g_var, const Made& made, bool has_residual) {
  if (call.weights == Weights::each) call.make_contiguous();
  Activation activation = made.activation();
  bool is_activated = activation != Activation::none;
  Norm<T> n = call.norm<T>(x, w, activation == Activation::silu ? b : nb::none(), eps, is_centred, activation);
  n.g = call.in<T>(g, call.shape);
  made.add(n, call);
  n.g_mean = gradient_of_statistic<T>(call, g_mean), n.g_var = gradient_of_statistic<T>(call, g_var);
  nb::object gx, gw, gb, g_residual, product;
  n.gx = call.out<T>(gx, call.shape);
  if (is_activated && has_residual) n.g_residual = call.out<T>(g_residual, call.shape);
  bool is_mixed = call.weights == Weights::mixed;
  if (is_mixed && n.w) n.g_product = call.out<T>(product, call.shape);
  if (!is_mixed && n.w) n.gw = call.out<T>(gw, call.weights_shape);
  if (!is_mixed && !b.is_none()) n.gb = call.out<T>(gb, call.weights_shape);
  compute(call.where, call.work(), [&] { KINONE_CALL(norm_backward(n)); });
  if (is_mixed && n.w) gw = summed(call, product);
  if (is_mixed && !b.is_none()) gb = summed(call, g);
  auto shaped = [&](nb::object gradient, nb::handle like) {
    return gradient.is_valid() ? call.result(gradient).attr("reshape")(like.attr("shape")) : nb::none();
  };
  nb::object masked = !has_residual ? nb::none() : is_activated ? call.result(g_residual) : nb::borrow(g);
  return nb::make_tuple(call.result(gx), shaped(gw, w), shaped(gb, b), masked);
}

nb::object norm_backward(nb::handle g, nb::handle x, nb::handle w, nb::handle b, nb::handle axes, double eps,
                         bool is_centred, nb::handle g_mean, nb::handle g_var, nb::handle y, bool has_residual,
                         nb::handle mean, nb::handle var, nb::handle residual) {
  Call call("norm_backward", x, axes);
  Made made{y, mean, var, residual};
  if (!call.is_ours || !call.takes(w) || !call.takes(b)) return left_to_reference();
  if (made.activation() != Activation::none && call.weights != Weights::own) return left_to_reference();
  auto f = call.type == 'f' ? backward<float> : backward<double>;
  return f(call, g, x, w, b, eps, is_centred, g_mean, g_var, made, has_residual);
}

// ---------------------------------------------------------------------------------- with statistics that are given
template <class T>
Norm<T> given_norm(Call& call, nb::handle x, nb::handle mean, nb::handle var, nb::handle w, nb::handle b, double eps,
                   Activation activation) {
  Norm<T> n = call.norm<T>(x, w, b, eps, true, activation);
  n.mean = const_cast<T*>(call.in<T>(mean, call.statistics_shape));
  n.var = const_cast<T*>(call.in<T>(var, call.statistics_shape));
  return n;
}

// All axes are reduced along which the statistics have one number.
nb::tuple others(nb::handle x, nb::handle mean) {
  Array of(x), statistics(mean);
  nb::list axes;
  for (int i = 0; i < of.axes() && statistics.axes() == of.axes(); i++)
    if (statistics.length(i) == 1) axes.append(i);
  return nb::tuple(axes);
}

template <class T>
nb::object inference_forward(Call& call, nb::handle x, nb::handle mean, nb::handle var, nb::handle w, nb::handle b,
                             double eps, nb::handle residual, Activation activation) {
  Norm<T> n = given_norm<T>(call, x, mean, var, w, b, eps, activation);
  n.residual = call.in<T>(residual, call.shape);
  nb::object y;
  n.y = call.out<T>(y, call.shape);
  compute(call.where, call.work(), [&] { KINONE_CALL(batch_norm_inference_forward(n)); });
  return call.result(y);
}

nb::object batch_norm_inference_forward(nb::handle x, nb::handle mean, nb::handle var, nb::handle w, nb::handle b,
                                        double eps, nb::handle residual, const std::string& activation) {
  Call call("batch_norm_inference_forward", x, others(x, mean));
  bool is_ours = call.is_ours && call.takes(mean) && call.takes(var) && call.takes(w) && call.takes(b);
  if (!is_ours || call.weights != Weights::own || !is_known(activation)) return left_to_reference();
  auto f = call.type == 'f' ? inference_forward<float> : inference_forward<double>;
  return f(call, x, mean, var, w, b, eps, residual, activation_of(activation));
}

nb::object affine(nb::handle x, nb::handle w, nb::handle b) {
  Call call("affine", x, others(x, w));
  if (!call.is_ours || !call.takes(w) || !call.takes(b) || call.weights != Weights::own) return left_to_reference();
  auto f = call.type == 'f' ? inference_forward<float> : inference_forward<double>;
  return f(call, x, nb::none(), nb::none(), w, b, 0, nb::none(), Activation::none);
}

template <class T>
nb::object inference_backward(Call& call, nb::handle g, nb::handle x, nb::handle mean, nb::handle var, nb::handle w,
                              double eps, const Made& made, bool has_residual, nb::handle b) {
  Norm<T> n = given_norm<T>(call, x, mean, var, w, b, eps, made.activation());
  n.g = call.in<T>(g, call.shape);
  made.add(n, call);
  bool is_masked = has_residual && n.activation != Activation::none;
  nb::object gx, g_mean, g_var, gw, gb, g_residual;
  n.gx = call.out<T>(gx, call.shape);
  n.mean_gradient = call.out<T>(g_mean, call.statistics_shape);
  n.var_gradient = call.out<T>(g_var, call.statistics_shape);
  n.gw = call.out<T>(gw, call.statistics_shape);
  n.gb = call.out<T>(gb, call.statistics_shape);
  if (is_masked) n.g_residual = call.out<T>(g_residual, call.shape);
  compute(call.where, call.work(), [&] { KINONE_CALL(batch_norm_inference_backward(n)); });
  nb::object masked = !has_residual ? nb::none() : is_masked ? call.result(g_residual) : nb::borrow(g);
  return nb::make_tuple(call.result(gx), call.result(g_mean), call.result(g_var), call.result(gw), call.result(gb),
                        masked);
}

nb::object batch_norm_inference_backward(nb::handle g, nb::handle x, nb::handle mean, nb::handle var, nb::handle w,
                                         nb::handle axes, double eps, nb::handle y, bool has_residual, nb::handle b,
                                         nb::handle residual, const std::string& activation) {
  Call call("batch_norm_inference_backward", x, axes);
  Made made{y, activation == "silu" ? mean : nb::handle(Py_None), var, residual};
  if (!call.is_ours || !call.takes(mean) || !call.takes(var) || !call.takes(w) || !call.takes(b))
    return left_to_reference();
  if (call.weights != Weights::own) return left_to_reference();
  auto f = call.type == 'f' ? inference_backward<float> : inference_backward<double>;
  return f(call, g, x, mean, var, w, eps, made, has_residual, activation == "silu" ? b : nb::handle(Py_None));
}

}  // namespace

void add_normalize(nb::module_& m) {
  using namespace nb::literals;
  auto none = nb::none();
  m.def("norm_forward", norm_forward,
        "x"_a.none(), "w"_a.none(), "b"_a.none(), "axes"_a, "eps"_a, "is_centred"_a = true, "residual"_a = none,
        "activation"_a = "none");
  m.def("norm_backward",
        norm_backward,
        "g"_a, "x"_a, "w"_a.none(), "b"_a.none(), "axes"_a, "eps"_a, "is_centred"_a = true, "g_mean"_a = 0.0,
        "g_var"_a = 0.0, "y"_a = none, "has_residual"_a = false, "mean"_a = none, "var"_a = none, "residual"_a = none);
  m.def("batch_norm_inference_forward", batch_norm_inference_forward, "x"_a, "mean"_a, "var"_a, "w"_a.none(),
        "b"_a.none(), "eps"_a, "residual"_a = none, "activation"_a = "none");
  m.def("batch_norm_inference_backward", batch_norm_inference_backward, "g"_a, "x"_a, "mean"_a, "var"_a, "w"_a.none(),
        "axes"_a, "eps"_a, "y"_a = none, "has_residual"_a = false, "b"_a = none, "residual"_a = none,
        "activation"_a = "none");
  m.def("affine", affine, "x"_a, "w"_a, "b"_a = none);
  add_softmax(m);
}

}  // namespace kinone

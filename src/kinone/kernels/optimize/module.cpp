// The optimizers' kernels as Python calls them; what may not be changed or lies in each other's way, reference.py refuses.
#include <algorithm>
#include <cmath>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

using List = nb::list;
using Lists = std::vector<nb::handle>;  // arrays of every parameter; None where there are no such states

double power(double x, Index n) {
  double y = 1;
  for (; n; n >>= 1, x *= x)
    if (n & 1) y *= x;
  return y;
}

// The memory between the first and the last number of an array.
struct Extent {
  const char *begin, *end;
  bool is_written;

  Extent(const Array& x, bool is_written) : begin(x.data<char>()), end(begin), is_written(is_written) {
    Index bytes = x.type == 'd' ? 8 : x.type == 'f' ? 4 : 2;
    for (int axis = 0; axis < x.axes(); axis++) {
      Index reach = (x.length(axis) - 1) * x.stride(axis) * bytes;
      (reach < 0 ? begin : end) += reach;
    }
    end += bytes;
  }
};

bool are_apart(std::vector<Extent>& extents) {
  std::sort(extents.begin(), extents.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  const char *end = nullptr, *end_written = nullptr;
  for (const Extent& x : extents) {
    if (x.begin < end_written || (x.is_written && x.begin < end)) return false;
    end = std::max(end, x.end);
    if (x.is_written) end_written = std::max(end_written, x.end);
  }
  return true;
}

bool lie_alike(const Array& a, const Array& b) {
  for (int axis = 0; axis < a.axes(); axis++)
    if (a.length(axis) != 1 && a.stride(axis) != b.stride(axis)) return false;
  return true;
}

// The arrays of an update: float32 and float64 apart, and copies in the parameter's layout of those that lie otherwise.
class Arrays {
 public:
  // False if the call is the reference's.
  bool take(const char* where, const Lists& lists) {
    for (nb::handle list : lists) {
      if (list.is_none()) continue;
      lists_.push_back(List(list));
      if (lists_.back().size() != lists_[0].size()) return false;
    }
    std::vector<Extent> extents;
    for (size_t k = 0; k < lists_[0].size(); k++) {
      Array first(lists_[0][k]);
      if (!first.is_floating()) return false;
      bool is_double = first.type == 'd', is_dense = first.is_dense();
      Parameter<float> one{first.size(), {}};
      Parameter<double> two{first.size(), {}};
      for (size_t i = 0; i < lists_.size(); i++) {
        nb::handle object = lists_[i][k];
        Array x(object);
        bool is_written = i != 1;
        if (x.type != first.type || x.shape() != first.shape() || (is_written && !x.is_writeable())) return false;
        if (first.size()) extents.emplace_back(x, is_written);
        void* numbers = x.data<void>();
        if (!is_dense || x.type == 'e' || !x.is_aligned() || !lie_alike(x, first)) {
          nb::object copy = empty_like(where, first, is_double ? 'd' : 'f');
          copy[nb::ellipsis()] = object;
          numbers = Array(copy).data<void>();
          copies_.push_back({nb::borrow(object), copy, is_written});
        }
        one.at[i] = static_cast<float*>(numbers), two.at[i] = static_cast<double*>(numbers);
      }
      if (first.size()) is_double ? doubles_.push_back(two) : singles_.push_back(one);
    }
    return are_apart(extents);
  }

  // `set` fills in the factors; the result are the arrays that were changed.
  nb::object update(const char* where, Rule rule, const auto& set) {
    auto run = [&](auto& parameters, auto u) {
      if (parameters.empty()) return;
      double work = 0;
      for (const auto& p : parameters) work += p.size;
      u.rule = rule, u.parameters = parameters.data(), u.count = parameters.size();
      u.scale = u.kept = 1;
      set(u);
      compute(where, 4 * work, [&] { KINONE_CALL(update(u)); });
    };
    run(singles_, Update<float>{});
    run(doubles_, Update<double>{});
    for (auto& copy : copies_)
      if (copy.is_written) copy.of[nb::ellipsis()] = copy.array;
    List changed;
    for (size_t i = 0; i < lists_.size(); i++)
      if (i != 1) changed.extend(lists_[i]);
    return changed;
  }

 private:
  struct Copy {
    nb::object of, array;
    bool is_written;
  };
  std::vector<List> lists_;
  std::vector<Parameter<float>> singles_;
  std::vector<Parameter<double>> doubles_;
  std::vector<Copy> copies_;
};

nb::object update(const char* where, Rule rule, const Lists& lists, const auto& set) {
  Arrays arrays;
  return arrays.take(where, lists) ? arrays.update(where, rule, set) : left_to_reference();
}

void set_decay(auto& u, double weight_decay, double lr, bool is_decoupled) {
  if (is_decoupled) u.kept = 1 - lr * weight_decay;
  else u.decay = weight_decay;
}

void set_moments(auto& u, double beta1, double beta2, double eps, Index step) {
  u.rest1 = 1 - beta1, u.beta2 = beta2, u.rest2 = 1 - beta2, u.eps = eps;
  u.root = 1 / std::sqrt(1 - power(beta2, step));
}

nb::object sgd_update(nb::handle params, nb::handle grads, nb::handle momenta, double lr, double momentum,
                      double dampening, double weight_decay, bool is_nesterov, bool is_first, double scale) {
  return update("sgd_update", Rule::sgd, {params, grads, momenta}, [&](auto& u) {
    u.scale = scale, u.lr = lr, u.beta1 = momentum, u.rest1 = 1 - dampening;
    u.is_nesterov = is_nesterov, u.is_first = is_first, u.has_momentum = !momenta.is_none();
    set_decay(u, weight_decay, lr, false);
  });
}

nb::object adam_update(nb::handle params, nb::handle grads, nb::handle averages, nb::handle squares,
                       nb::handle largest, Index step, double lr, double beta1, double beta2, double eps,
                       double weight_decay, bool is_decoupled, double scale) {
  return update("adam_update", Rule::adam, {params, grads, averages, squares, largest}, [&](auto& u) {
    u.scale = scale, u.lr = lr / (1 - power(beta1, step)), u.has_average = !largest.is_none();
    set_decay(u, weight_decay, lr, is_decoupled), set_moments(u, beta1, beta2, eps, step);
  });
}

nb::object nadam_update(nb::handle params, nb::handle grads, nb::handle averages, nb::handle squares, Index step,
                        double lr, double beta1, double beta2, double eps, double weight_decay, bool is_decoupled,
                        double mu, double mu_next, double mu_product, double scale) {
  return update("nadam_update", Rule::nadam, {params, grads, averages, squares}, [&](auto& u) {
    u.scale = scale, u.lr = lr * (1 - mu) / (1 - mu_product), u.next = lr * mu_next / (1 - mu_product * mu_next);
    set_decay(u, weight_decay, lr, is_decoupled), set_moments(u, beta1, beta2, eps, step);
  });
}

nb::object rmsprop_update(nb::handle params, nb::handle grads, nb::handle squares, nb::handle averages,
                          nb::handle momenta, double lr, double alpha, double eps, double weight_decay,
                          double momentum, double scale) {
  return update("rmsprop_update", Rule::rmsprop, {params, grads, squares, averages, momenta}, [&](auto& u) {
    u.scale = scale, u.lr = lr, u.beta1 = momentum, u.beta2 = alpha, u.rest2 = 1 - alpha, u.eps = eps;
    u.has_average = !averages.is_none(), u.has_momentum = !momenta.is_none();
    set_decay(u, weight_decay, lr, false);
  });
}

nb::object adagrad_update(nb::handle params, nb::handle grads, nb::handle sums, Index step, double lr, double lr_decay,
                          double eps, double weight_decay, double scale) {
  return update("adagrad_update", Rule::adagrad, {params, grads, sums}, [&](auto& u) {
    u.scale = scale, u.lr = lr / (1 + (step - 1) * lr_decay), u.eps = eps;
    set_decay(u, weight_decay, lr, false);
  });
}

nb::object lion_update(nb::handle params, nb::handle grads, nb::handle momenta, double lr, double beta1, double beta2,
                       double weight_decay, double scale) {
  return update("lion_update", Rule::lion, {params, grads, momenta}, [&](auto& u) {
    u.scale = scale, u.lr = lr, u.rest1 = 1 - beta1, u.rest2 = 1 - beta2;
    set_decay(u, weight_decay, lr, true);
  });
}

nb::object ema_update(nb::handle averages, nb::handle params, double decay) {
  return update("ema_update", Rule::ema, {averages, params}, [&](auto& u) { u.rest1 = 1 - decay, u.scale = u.kept = 1; });
}

nb::object global_norm(nb::handle grads) {
  double sum = 0;
  for (nb::handle object : List(grads)) {
    Array given(object);
    if (!given.is_floating()) return left_to_reference();
    Array x = contiguous(object, std::move(given));
    compute("global_norm", x.size(), [&] {
      sum += x.type == 'f' ? KINONE_CALL(squares(x.data<float>(), x.size()))
                           : KINONE_CALL(squares(x.data<double>(), x.size()));
    });
  }
  return nb::float_(sum == sum ? std::sqrt(sum) : Py_NAN);
}

}  // namespace

void add_optimize(nb::module_& m) {
  using namespace nb::literals;
  m.def("sgd_update", sgd_update, "params"_a, "grads"_a, "momenta"_a.none(), "lr"_a, "momentum"_a, "dampening"_a,
        "weight_decay"_a, "is_nesterov"_a, "is_first"_a, "scale"_a);
  m.def("adam_update", adam_update, "params"_a, "grads"_a, "averages"_a, "squares"_a, "largest"_a.none(), "step"_a,
        "lr"_a, "beta1"_a, "beta2"_a, "eps"_a, "weight_decay"_a, "is_decoupled"_a, "scale"_a);
  m.def("nadam_update", nadam_update, "params"_a, "grads"_a, "averages"_a, "squares"_a, "step"_a, "lr"_a, "beta1"_a,
        "beta2"_a, "eps"_a, "weight_decay"_a, "is_decoupled"_a, "mu"_a, "mu_next"_a, "mu_product"_a, "scale"_a);
  m.def("rmsprop_update", rmsprop_update, "params"_a, "grads"_a, "squares"_a, "averages"_a.none(), "momenta"_a.none(),
        "lr"_a, "alpha"_a, "eps"_a, "weight_decay"_a, "momentum"_a, "scale"_a);
  m.def("adagrad_update", adagrad_update, "params"_a, "grads"_a, "sums"_a, "step"_a, "lr"_a, "lr_decay"_a, "eps"_a,
        "weight_decay"_a, "scale"_a);
  m.def("lion_update", lion_update, "params"_a, "grads"_a, "momenta"_a, "lr"_a, "beta1"_a, "beta2"_a,
        "weight_decay"_a, "scale"_a);
  m.def("ema_update", ema_update, "averages"_a, "params"_a, "decay"_a);
  m.def("global_norm", global_norm, "grads"_a);
}

}  // namespace kinone

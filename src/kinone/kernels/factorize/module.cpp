// inv, solve, det, slogdet and cholesky, as Python calls them: float64 copies are factorized in place, one matrix of a
// batch a task; NotImplemented leaves a matrix without an answer to reference.py, whose errors are the ones users see.
#include <atomic>

#include "../native/array.hpp"
#include "native.hpp"

namespace kinone {
namespace {

// Square matrices, copied.
struct Squares {
  nb::object object;
  Array a;
  Index n, count;

  explicit Squares(nb::handle x)
      : object(doubles(x)), a(object), n(a.axes() < 2 ? 0 : a.length(-1)), count(n ? a.size() / (n * n) : 0) {}
  bool is_square() const { return a.axes() > 1 && a.length(-2) == n; }
  double* of(Index i) const { return a.data<double>() + i * n * n; }
  Shape batch() const {
    Shape shape = a.shape();
    shape.resize(shape.size() - 2);
    return shape;
  }
  double work() const { return static_cast<double>(count) * n * n * n; }
};

bool serves(nb::handle x) {
  Array a(x);
  return a.is_floating() && a.axes() > 1 && a.length(-1) == a.length(-2) && a.size();
}

size_t bytes(Index n) { return n * sizeof(Index); }

// The result in the operand's type.
nb::object settled(nb::object y, char type) {
  Array a(y);
  KINONE_CALL(settle(a.data<double>(), a.size()));
  return as_type(y, type);
}

nb::object inv(nb::handle x) {
  if (!serves(x)) return left_to_reference();
  Squares a(x);
  nb::object result = empty("inv", a.a.shape(), 'd');
  double* y = Array(result).data<double>();
  std::atomic<bool> is_singular = false;
  compute("inv", 3 * a.work(), [&] {
    parallel(a.count, bytes(a.n) + a.n * a.n * sizeof(double), [&](Index i, char* scratch) {
      double* unit = reinterpret_cast<double*>(scratch);
      Index* rows = reinterpret_cast<Index*>(scratch + a.n * a.n * sizeof(double));
      for (Index p = 0; p < a.n * a.n; p++) unit[p] = p % (a.n + 1) == 0;
      if (KINONE_CALL(factorize(a.of(i), a.n, rows)) < 0) is_singular = true;
      else KINONE_CALL(substitute(a.of(i), a.n, rows, unit, a.n, y + i * a.n * a.n));
    });
  });
  return is_singular ? left_to_reference() : settled(result, Array(x).type);
}

nb::object solve(nb::handle x, nb::handle b_object) {
  Array b_given(b_object);
  if (!serves(x) || b_given.type != Array(x).type || !b_given.size()) return left_to_reference();
  Squares a(x);
  nb::object b_doubles = doubles(b_object);
  Array b(b_doubles);
  bool is_vector = b.axes() == 1;
  Index k = is_vector ? 1 : b.length(-1);
  if (b.length(is_vector ? 0 : -2) != a.n) return left_to_reference();

  Shape shape = a.batch(), b_shape = b.shape();
  b_shape.resize(is_vector ? 0 : b_shape.size() - 2);
  if (!is_vector && b_shape != shape) return left_to_reference();  // batches that are to be broadcast
  Index b_step = is_vector ? 0 : a.n * k;
  shape.push_back(a.n);
  if (!is_vector) shape.push_back(k);
  nb::object result = empty("solve", shape, 'd');
  double* y = Array(result).data<double>();
  std::atomic<bool> is_singular = false;
  compute("solve", a.work() + 2. * a.count * a.n * a.n * k, [&] {
    parallel(a.count, bytes(a.n), [&](Index i, char* scratch) {
      Index* rows = reinterpret_cast<Index*>(scratch);
      if (KINONE_CALL(factorize(a.of(i), a.n, rows)) < 0) is_singular = true;
      else KINONE_CALL(substitute(a.of(i), a.n, rows, b.data<double>() + i * b_step, k, y + i * a.n * k));
    });
  });
  return is_singular ? left_to_reference() : settled(result, b_given.type);
}

// f(matrix, its place, 1 or −1 or 0 for a singular one): what is made of the factors.
template <class F>
void each(const char* where, const Squares& a, const F& f) {
  compute(where, a.work(), [&] {
    parallel(a.count, bytes(a.n), [&](Index i, char* scratch) {
      int is_odd = KINONE_CALL(factorize(a.of(i), a.n, reinterpret_cast<Index*>(scratch)));
      f(a.of(i), i, is_odd < 0 ? 0. : is_odd ? -1. : 1.);
    });
  });
}

nb::object det(nb::handle x) {
  if (!serves(x)) return left_to_reference();
  Squares a(x);
  nb::object result = empty("det", a.batch(), 'd');
  double* y = Array(result).data<double>();
  each("det", a, [&](const double* factors, Index i, double sign) {
    for (Index p = 0; p < a.n && sign != 0; p++) sign = sign * factors[p * (a.n + 1)];
    y[i] = sign;
  });
  return settled(result, Array(x).type);
}

nb::object slogdet(nb::handle x) {
  if (!serves(x)) return left_to_reference();
  Squares a(x);
  nb::object signs = empty("slogdet", a.batch(), 'd'), sizes = empty("slogdet", a.batch(), 'd');
  double *sign_of = Array(signs).data<double>(), *size_of = Array(sizes).data<double>();
  each("slogdet", a, [&](const double* factors, Index i, double sign) {
    for (Index p = 0; p < a.n; p++) sign = factors[p * (a.n + 1)] < 0 ? -sign : sign;
    sign_of[i] = sign;
    size_of[i] = sign == 0 ? -__builtin_inf() : KINONE_CALL(log_diagonal(factors, a.n));
  });
  char type = Array(x).type;
  return nb::make_tuple(settled(signs, type), settled(sizes, type));
}

nb::object cholesky(nb::handle x) {
  if (!serves(x)) return left_to_reference();
  Squares a(x);
  std::atomic<bool> is_positive = true;
  compute("cholesky", a.work(), [&] {
    parallel(a.count, 0, [&](Index i, char*) {
      if (!KINONE_CALL(cholesky(a.of(i), a.n))) is_positive = false;
    });
  });
  return is_positive ? settled(a.object, Array(x).type) : left_to_reference();
}

}  // namespace

void add_factorize(nb::module_& m) {
  m.def("inv", inv, nb::arg("x").none());
  m.def("solve", solve, nb::arg("a").none(), nb::arg("b").none());
  m.def("det", det, nb::arg("x").none());
  m.def("slogdet", slogdet, nb::arg("x").none());
  m.def("cholesky", cholesky, nb::arg("x").none());
}

}  // namespace kinone

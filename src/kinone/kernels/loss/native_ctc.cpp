// The loss of a sequence over all its alignments, in float64 and rounded once (profile kn1):
//
//   a₀[s] = x₀[s] for s < 2, else −∞;   aₜ[s] = logsum(stay, one, skip) + xₜ[s],   xₜ[s] = x[t, n, labels[n, s]]
//   stay = aₜ₋₁[s], one = aₜ₋₁[s − 1], skip = aₜ₋₁[s − 2] where skips[n, s], else −∞
//   logsum(a, b, c) = m + log((exp(a − m) + exp(b − m)) + exp(c − m)),   m = max(a, b, c), or 0 where that is −∞
//   y = −log Σ exp of the last a[s] that are ends:  −(m + log of the lane sum of exp(a[s] − m))
//
// Backward, from the last step to the first: w[s] is −g·P(the path is in state s), ∂L/∂x[t, n, c] = Σ w[s] over the
// states labelled c, in order; and a step back  w[s] ← (w[s]·P(stay at s) + w[s + 1]·P(one)) + w[s + 2]·P(skip).
//
// States run along vectors; a sequence is one thread's.
#include "../elementwise/functions.hpp"
#include "../native/pool.hpp"
#include "../native/sums.hpp"
#include "native.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr int before = 8, after = 8;  // room of a row of states on either side: what is there is −∞, or 0 of w

Doubles larger(Doubles a, Doubles b) { return a > b ? a : b; }
Doubles or_zero(Doubles m) { return m == -infinity ? Doubles{} : m; }

// One sequence: rows of states of float64 in scratch.
template <class T>
struct Paths {
  const Ctc<T>& c;
  Index n, length, row;
  double *skips, *alphas;  // 0 where a step may skip, else −∞; aₜ of each t, or of this and the last t

  static Index row_of(const Ctc<T>& c) { return before + c.states + lanes<double> + after; }

  Paths(const Ctc<T>& c, Index n, bool keeps_all, double* scratch)
      : c(c), n(n), length(c.lengths[n]), row(row_of(c)), skips(scratch + before), alphas(scratch + row + before),
        most_(keeps_all ? c.steps : 2) {
    for (Index i = 0; i < (1 + most_) * row; i++) scratch[i] = -infinity;
    for (Index s = 0; s < c.states; s++)
      if (c.skips[n * c.states + s]) skips[s] = 0;
    for (Index t = 0; t < length; t++) step(t);
  }

  double* alpha(Index t) const { return alphas + t % most_ * row; }
  double x(Index t, Index s) const { return c.x[t * c.x_step + n * c.x_row + c.labels[n * c.states + s] * c.x_class]; }

  // Where the paths that are in the states s, s + 1, … at t were before: stay, one and skip.
  void came(Index t, Index s, Doubles (&a)[3]) const {
    const double* last = alpha(t - 1) + s;
    for (int k = 0; k < 3; k++) a[k] = load<Doubles>(last - k);
    Doubles closed = load<Doubles>(skips + s);
    a[2] = closed == 0 ? a[2] : closed;
  }

  static Doubles logsum(const Doubles (&a)[3]) {
    Doubles m = or_zero(larger(larger(a[0], a[1]), a[2]));
    return m + log<double>((exp<double>(a[0] - m) + exp<double>(a[1] - m)) + exp<double>(a[2] - m));
  }

  void step(Index t) {
    double* a = alpha(t);
    if (t == 0) {
      for (Index s = 0; s < 2 && s < c.states; s++) a[s] = x(0, s);
      return;
    }
    for (Index s = 0; s < c.states; s += lanes<double>) {
      Doubles from[3];
      came(t, s, from);
      Doubles y = logsum(from);
      for (Index i = 0; i < lanes<double> && s + i < c.states; i++) a[s + i] = y[i] + x(t, s + i);
    }
  }

  bool is_end(Index s) const { return c.ends[n * c.states + s]; }

  // log Σ exp of the last a[s] that are ends.
  double total() const {
    const double* last = alpha(length - 1);
    double m = -infinity, sum;
    for (Index s = 0; s < c.states; s++)
      if (is_end(s) && last[s] > m) m = last[s];
    if (m == -infinity) m = 0;
    lane_sums<1>(c.states, [&](Index s, auto, Doubles* t) {
      Doubles a = broadcast(-infinity);
      for (Index i = 0; i < lanes<double> && s + i < c.states; i++)
        if (is_end(s + i)) a[i] = last[s + i];
      t[0] = exp<double>(a - m);
    }, &sum);
    return m + log<double>(broadcast(sum))[0];
  }

 private:
  Index most_;
};

}  // namespace

template <class T>
void ctc_forward(const Ctc<T>& c) {
  parallel(c.count, 3 * Paths<T>::row_of(c) * sizeof(double), [&](Index n, char* scratch) {
    c.y[n] = one_nan(static_cast<T>(-Paths<T>(c, n, false, reinterpret_cast<double*>(scratch)).total()));
  });
}

template <class T>
void ctc_backward(const Ctc<T>& c) {
  Index row = Paths<T>::row_of(c);
  parallel(c.count, ((c.steps + 5) * row + c.classes) * sizeof(double), [&](Index n, char* scratch) {
    double *rows = reinterpret_cast<double*>(scratch), *w = rows + before, *back = w + row, *of_class = rows + 4 * row;
    Paths<T> paths(c, n, true, of_class + c.classes);
    for (Index i = 0; i < 4 * row; i++) rows[i] = 0;
    const double total = paths.total(), shift = total == -infinity ? 0 : total;
    for (Index s = 0; s < c.states; s++) {
      Doubles last = broadcast(paths.is_end(s) ? paths.alpha(paths.length - 1)[s] : -infinity);
      w[s] = -static_cast<double>(c.g[n]) * exp<double>(last - shift)[0];
    }
    for (Index t = c.steps; t-- > 0;) {
      for (Index k = 0; k < c.classes; k++) of_class[k] = 0;
      for (Index s = 0; s < c.states && t < paths.length; s++) of_class[c.labels[n * c.states + s]] += w[s];
      for (Index k = 0; k < c.classes; k++)
        c.gx[t * c.gx_step + n * c.gx_row + k * c.gx_class] = one_nan(static_cast<T>(of_class[k]));
      if (t == 0 || t >= paths.length) continue;
      for (Index s = 0; s < c.states; s += lanes<double>) {
        Doubles from[3];
        paths.came(t, s, from);
        Doubles sum = or_zero(Paths<T>::logsum(from));
        for (int k = 0; k < 3; k++) {
          Doubles came = load<Doubles>(w + s) * exp<double>(from[k] - sum);
          for (Index i = 0; i < lanes<double> && s + i < c.states; i++) back[k * row + s + i] = came[i];
        }
      }
      for (Index s = 0; s < c.states; s++) w[s] = (back[s] + back[row + s + 1]) + back[2 * row + s + 2];
    }
  });
}

template void ctc_forward<float>(const Ctc<float>&);
template void ctc_forward<double>(const Ctc<double>&);
template void ctc_backward<float>(const Ctc<float>&);
template void ctc_backward<double>(const Ctc<double>&);

}  // namespace kinone::KINONE_ISA

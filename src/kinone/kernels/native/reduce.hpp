// Lane sums over axes of operands that share a shape, however they lie in memory:
//
//   for each output o (kept axes):   sums[k] = Σ term(x₀, x₁, …)[k] over the reduced axes, in the shape's order
//                                    finish(o, sums, first)
//
// A Term has `sums`, `given`, `is_shifted` and `Join`, an array for each of its `given` parameters of an output, and the
// function: (values, first, parameters, t). `first` is an output's first number of the last operand, if it is_shifted.
// A Term that `has_result` first makes the operands' result of them, by prepare(), and has that as values[0].
//
// Where outputs lie side by side, vectors run across them (`across`), else along the sum (`along`); what then does not
// lie side by side is copied, a block at a time. The work is shared out by blocks of 1024 terms, or by outputs if there
// are enough; none of this changes a bit. Outputs are finished on any thread, each once.
#pragma once

#include "axes.hpp"
#include "pool.hpp"
#include "sums.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index least = 1 << 15;  // numbers below which one thread is quicker than waking others

// What is done with the sums of an output.
class Finish {
 public:
  template <class F>
  Finish(const F& f)
      : f_(&f), call_([](const void* f, Index output, const double* sums, double first) {
          (*static_cast<const F*>(f))(output, sums, first);
        }) {}
  void operator()(Index output, const double* sums, double first) const { call_(f_, output, sums, first); }

 private:
  const void* f_;
  void (*call_)(const void*, Index, const double*, double);
};

// Calls f(begin, end, scratch) for shares of `units`, which take in `numbers` altogether.
template <class F>
inline void share_out(Index units, double numbers, size_t bytes, const F& f) {
  Index tasks = numbers < least ? min(units, 1) : min(units, 8 * threads());
  parallel(tasks, bytes, [&](Index task, char* scratch) {
    f(units * task / tasks, units * (task + 1) / tasks, scratch);
  });
}

// The n numbers from `begin` on, side by side: where they lie or in `room`.
template <int WAYS, class T>
inline const T* side_by_side(const T* x, const Axes<WAYS>& axes, int way, Index begin, Index n, T* room) {
  Index length = run(axes), step = run_step(axes, way), i = begin % length;
  if (axes.count < 2 && step == 1) return x + begin;
  Axes<WAYS> others = without_run(axes);
  Walk<WAYS> walk(others, begin / length);
  if (step == 1 && i + n <= length) return x + walk.at[way] + i;
  for (Index done = 0; done < n; i = 0, walk.next()) {
    const T* from = x + walk.at[way] + i * step;
    Index count = min(n - done, length - i);
    for (Index j = 0; j < count; j++) room[done + j] = from[j * step];
    done += count;
  }
  return room;
}

// The other way: n numbers that stand side by side go to their places from `begin` on.
template <int WAYS, class T>
inline void put_back(const T* from, T* x, const Axes<WAYS>& axes, int way, Index begin, Index n) {
  Index length = run(axes), step = run_step(axes, way), i = begin % length;
  Axes<WAYS> others = without_run(axes);
  Walk<WAYS> walk(others, begin / length);
  for (Index done = 0; done < n; i = 0, walk.next()) {
    T* to = x + walk.at[way] + i * step;
    Index count = min(n - done, length - i);
    for (Index j = 0; j < count; j++) to[j * step] = from[done + j];
    done += count;
  }
}

// The numbers that the sums of blocks need while they wait for each other.
template <class Term, class T, int SOURCES>
inline Index waiting(const Operands<T, SOURCES>& o) {
  Index blocks = lane_blocks(size(o.reduced));
  return blocks > 1 ? size(o.kept) * blocks * Term::sums : 0;
}

// Whether `along` finishes an output in the thread that has just read all of it.
template <class T, int SOURCES>
inline bool finishes_at_once(const Operands<T, SOURCES>& o) {
  return size(o.reduced) <= lane_block || size(o.kept) >= 4 * threads();
}

template <class T, int SOURCES, class Term>
void along(const Operands<T, SOURCES>& o, const Term& term, double* sums, const Finish& finish) {
  constexpr int SUMS = Term::sums, LAST = SOURCES - 1;
  using Join = typename Term::Join;
  Index outputs = size(o.kept), n = size(o.reduced), blocks = lane_blocks(n);
  bool is_whole = finishes_at_once(o);
  auto first = [&](const Walk<SOURCES>& walk) { return term.is_shifted && n ? double(o.x[LAST][walk.at[LAST]]) : 0; };

  auto sum_block = [&](const Walk<SOURCES>& walk, Index output, Index block, char* scratch, double* s) {
    Index begin = block * lane_block, count = min(n - begin, lane_block);
    const T* x[SOURCES];
    for (int k = 0; k < SOURCES; k++) {
      T* room = reinterpret_cast<T*>(scratch) + k * lane_block;
      x[k] = n ? side_by_side(o.x[k] + walk.at[k], o.reduced, k, begin, count, room) : nullptr;
    }
    Vector<double> given[Term::given + 1], shift = broadcast(first(walk));
    for (int k = 0; k < Term::given; k++) given[k] = broadcast(term.parameters[k][output]);
    T* results = reinterpret_cast<T*>(scratch) + SOURCES * lane_block;
    if constexpr (Term::has_result) {
      term.template prepare<false>(x, count, output, results);
      x[0] = results;
    }
    block_sums<SUMS, Join>(0, count, [&](Index i, auto lanes, Vector<double>* t) {
      Vector<double> values[SOURCES];
      for (int k = 0; k < SOURCES; k++) values[k] = load_doubles(x[k] + i, lanes);
      term(values, shift, given, t);
    }, s);
    if constexpr (Term::has_result)
      if (n) put_back(results, o.result + walk.at[LAST], o.reduced, LAST, begin, count);
  };

  Index units = is_whole ? outputs : outputs * blocks;
  size_t bytes = (SOURCES + Term::has_result) * lane_block * sizeof(T);
  share_out(units, double(outputs) * n, bytes, [&](Index unit, Index end, char* scratch) {
    Index each = is_whole ? 1 : blocks;
    Walk<SOURCES> walk(o.kept, unit / each);
    for (; unit < end; unit++) {
      if (is_whole) {
        double s[SUMS] = {};
        Tree<Join> trees[SUMS];
        for (Index block = 0; block < blocks; block++) {
          sum_block(walk, unit, block, scratch, s);
          for (int k = 0; k < SUMS && blocks > 1; k++) trees[k].add(s[k]);
        }
        for (int k = 0; k < SUMS && blocks > 1; k++) s[k] = trees[k].sum();
        finish(unit, s, first(walk));
      } else {
        sum_block(walk, unit / blocks, unit % blocks, scratch, sums + unit * SUMS);
      }
      if ((unit + 1) % each == 0) walk.next();
    }
  });
  if (is_whole) return;
  Walk<SOURCES> walk(o.kept, 0);
  for (Index output = 0; output < outputs; output++, walk.next()) {
    double* s = sums + output * blocks * SUMS;
    tree_of_blocks<Join>(s, blocks, SUMS);
    finish(output, s, first(walk));
  }
}

// Here all operands have the same steps.
template <class T, int SOURCES, class Term>
void across(const Operands<T, SOURCES>& o, const Term& term, double* sums, const Finish& finish) {
  constexpr int SUMS = Term::sums, LAST = SOURCES - 1;
  using Join = typename Term::Join;
  Axes<SOURCES> outer = without_run(o.kept);
  Index columns = run(o.kept), rows = size(o.reduced), blocks = lane_blocks(rows), lines = size(outer);
  Index width = min(columns, 256 / SUMS);  // the lanes of so many outputs stay in the first-level cache
  auto chunks = [&] { return (columns + width - 1) / width; };
  while (lines * blocks * chunks() < 4 * threads() && width > 32) width = (width / 2 + 7) / 8 * 8;

  auto finish_columns = [&](const Walk<SOURCES>& walk, Index output, Index j0, Index count, const double* from) {
    for (Index j = 0; j < count; j++) {
      double s[SUMS];
      for (int k = 0; k < SUMS; k++) s[k] = from[k * count + j];
      finish(output + j, s, term.is_shifted && rows ? double(o.x[LAST][walk.at[LAST] + j0 + j]) : 0);
    }
  };

  Index scratch_numbers = row_sums_scratch<SUMS>(width) + SUMS * width;
  size_t bytes = scratch_numbers * sizeof(double) + lane_block * sizeof(Index);
  share_out(lines * chunks() * blocks, double(lines) * columns * rows, bytes, [&](Index unit, Index end, char* scratch) {
    double* room = reinterpret_cast<double*>(scratch);
    Index* steps = reinterpret_cast<Index*>(room + scratch_numbers);
    for (; unit < end; unit++) {
      Index block = unit % blocks, j0 = unit / blocks % chunks() * width, line = unit / blocks / chunks();
      Index begin = block * lane_block, count = min(rows - begin, lane_block), now = min(columns - j0, width);
      Walk<SOURCES> walk(outer, line);
      if (count > 0) {
        Walk<SOURCES> row(o.reduced, begin);
        for (Index r = 0; r < count; r++, row.next()) steps[r] = row.at[0];
      }
      Index output = line * columns + j0;
      double* to = sums + (output * blocks + block * now) * SUMS;
      if (blocks == 1) to = room + row_sums_scratch<SUMS>(width);
      const T* x[SOURCES];
      for (int k = 0; k < SOURCES; k++) x[k] = o.x[k] + walk.at[k] + j0;
      Index ahead = count > row_depth ? steps[row_depth] - steps[0] : 0;
      T* result = o.result + (Term::has_result ? walk.at[LAST] + j0 : 0);
      const T* from = x[0];
      auto prepare = [&](Index first, Index last) {
        if constexpr (Term::has_result) {
          for (Index r = first; r < last; r++) {
            const T* at[SOURCES];
            for (int k = 0; k < SOURCES; k++) at[k] = (k ? x[k] : from) + steps[r];
            for (Index j = 0; j < now; j += 64 / Index(sizeof(T))) __builtin_prefetch(at[0] + ahead + j);
            term.template prepare<true>(at, now, output, result + steps[r]);
          }
        }
      };
      if (Term::has_result) x[0] = result;
      row_sums<SUMS, Join>(0, count, now, [=](Index r, Index j, auto lanes, Vector<double>* t) {
        Vector<double> values[SOURCES], shift{}, given[Term::given + 1];
        for (int k = 0; k < SOURCES; k++) {
          values[k] = load_doubles(x[k] + steps[r] + j, lanes);
          __builtin_prefetch(x[k] + steps[r] + ahead + j);  // what comes in no order that a processor foresees
        }
        if (term.is_shifted) shift = load_doubles(x[LAST] + j, lanes);
        for (int k = 0; k < Term::given; k++) given[k] = load_doubles(term.parameters[k] + output + j, lanes);
        term(values, shift, given, t);
      }, to, room, prepare);
      if (blocks == 1) finish_columns(walk, output, j0, now, to);
    }
  });
  if (blocks == 1) return;
  Walk<SOURCES> walk(outer, 0);
  for (Index line = 0; line < lines; line++, walk.next())
    for (Index j0 = 0; j0 < columns; j0 += width) {
      Index output = line * columns + j0, now = min(columns - j0, width);
      double* s = sums + output * blocks * SUMS;
      tree_of_blocks<Join>(s, blocks, SUMS * now);
      finish_columns(walk, output, j0, now, s);
    }
}

template <class T, int SOURCES>
inline bool lies_across(const Operands<T, SOURCES>& o) {
  bool is_same = run_step(o.kept) == 1 && run(o.kept) >= lane_count && !(run_step(o.reduced) == 1 && o.reduced.count);
  for (int way = 1; way < SOURCES; way++) {
    for (int axis = 0; axis < o.kept.count; axis++) is_same &= o.kept.step[way][axis] == o.kept.step[0][axis];
    for (int axis = 0; axis < o.reduced.count; axis++) is_same &= o.reduced.step[way][axis] == o.reduced.step[0][axis];
  }
  return is_same;
}

// `sums`: room for waiting<Term>(o) numbers.
template <class T, int SOURCES, class Term>
void reduce(const Operands<T, SOURCES>& o, const Term& term, double* sums, const Finish& finish) {
  if (!size(o.kept)) return;
  lies_across(o) ? across(o, term, sums, finish) : along(o, term, sums, finish);
}

}  // namespace
}  // namespace kinone::KINONE_ISA

// The lane sum, in which profile kn1 adds up floating numbers, Σ tᵢ over i < n:
//
//   for each block of 1024 terms:   s₀ … s₇ = +0;   for i in the block, in order:   s_(i mod 8) += (double)tᵢ
//                                   the block's sum is ((s₀ + s₄) + (s₂ + s₆)) + ((s₁ + s₅) + (s₃ + s₇))
//   neighbouring blocks' sums are added, then neighbouring sums of those, …; an odd last one moves up as it is
//
// Eight lanes are one vector of AVX-512, two of AVX2, four of NEON; and blocks wait for nothing but each other's sums,
// so any thread may add up any block. Terms run along memory (block_sums: a vector holds terms of one sum) or across it
// (row_sums: a vector holds one term each of sums that lie side by side).
//
// What a term is says a function of the caller's, for several sums in one pass: term(i, count, t) sets t[0], t[1], … to
// the terms i, i + 1, … of each sum, `count` of them; count is Whole{} for a full vector, else the first few lanes are
// asked for and the others are ignored. A term may have effects, such as to store what it computed (store_first).
#pragma once

#include "simd.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index lane_block = 1024;  // of the profile, as is the number of lanes
constexpr int lane_count = 8;
constexpr int lane_vectors = lane_count / lanes<double>;

// A sum of nothing is that of one empty block: +0.
constexpr Index lane_blocks(Index n) { return n > lane_block ? (n + lane_block - 1) / lane_block : 1; }

// ---------------------------------------------------------------------------------- the first few lanes
struct Whole {};  // all lanes of a vector

template <class V, class T>
inline V load_first(const T* p, Whole) {
  return load<V>(p);
}
template <class V, class T>
inline V load_first(const T* p, Index count) {
  V x{};
  for (Index i = 0; i < count; i++) x[i] = p[i];
  return x;
}

template <class V, class T>
inline void store_first(T* p, V x, Whole) {
  store(p, x);
}
template <class V, class T>
inline void store_first(T* p, V x, Index count) {
  for (Index i = 0; i < count; i++) p[i] = x[i];
}

// f(i, count) for i = 0, 16, …: in steps of a vector, the last one perhaps not whole.
template <class T, class F>
inline void each_vector(Index n, const F& f) {
  Index i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) f(i, Whole{});
  if (i < n) f(i, n - i);
}

template <class V>
inline V first_or(V x, double otherwise, Index count) {
  constexpr Index n = sizeof(V) / sizeof(x[0]);
  for (Index i = count; i < n; i++) x[i] = otherwise;
  return x;
}

// Numbers as doubles, or doubles as T.
template <class T, class Count>
inline Vector<double> load_doubles(const T* p, Count count) {
  return doubles(load_first<Vector<T, lanes<double>>>(p, count));
}
template <class T, class Count>
inline void store_doubles(T* p, Vector<double> x, Count count) {
  store_first(p, __builtin_convertvector(x, Vector<T, lanes<double>>), count);
}

// ---------------------------------------------------------------------------------- what joins lanes and blocks
// `none` joined to what the lanes hold changes nothing: a lane that began with +0 is never −0.
struct Add {
  static constexpr double none = 0;
  template <class V>
  static V join(V a, V b) {
    return a + b;
  }
};

struct Multiply {
  static constexpr double none = 1;
  template <class V>
  static V join(V a, V b) {
    return a * b;
  }
};

struct Larger {  // a NaN is larger than all else
  static constexpr double none = -__builtin_inf();
  template <class V>
  static V join(V a, V b) {
    return ((b > a) | (b != b)) ? b : a;
  }
};

template <class Join>
inline double sum_of_lanes(const double* s, Index step) {
  auto pair = [&](int l) { return Join::join(s[l * step], s[(l + 4) * step]); };
  return Join::join(Join::join(pair(0), pair(2)), Join::join(pair(1), pair(3)));
}

// ---------------------------------------------------------------------------------- along memory

// The sums of the terms [begin, end) of one block; begin is a multiple of 8.
template <int SUMS, class Join = Add, class Term>
inline void block_sums(Index begin, Index end, const Term& term, double* sums) {
  constexpr int n = lanes<double>;
  Vector<double> s[SUMS][lane_vectors], t[SUMS];
  for (auto& lanes : s)
    for (auto& v : lanes) v = broadcast(Join::none);
  Index i = begin;
  for (; i + lane_count <= end; i += lane_count)
#pragma GCC unroll 4
    for (int v = 0; v < lane_vectors; v++) {
      term(i + v * n, Whole{}, t);
      for (int k = 0; k < SUMS; k++) s[k][v] = Join::join(s[k][v], t[k]);
    }
  for (int v = 0; i < end; v++, i += n) {
    Index count = end - i < n ? end - i : n;
    term(i, count, t);
    for (int k = 0; k < SUMS; k++) s[k][v] = Join::join(s[k][v], first_or(t[k], Join::none, count));
  }
  for (int k = 0; k < SUMS; k++) sums[k] = sum_of_lanes<Join>(reinterpret_cast<const double*>(s[k]), 1);
}

// The tree over the blocks while they come in order: at level l waits the sum of 2ˡ blocks, if bit l of `count` is set.
template <class Join = Add>
struct Tree {
  Index count = 0;
  double waiting[48];

  void add(double s) {
    int level = 0;
    for (; count >> level & 1; level++) s = Join::join(waiting[level], s);
    waiting[level] = s;
    count++;
  }

  double sum() const {
    int level = 0;
    while (!(count >> level & 1)) level++;
    double s = waiting[level];
    while (count >> ++level)
      if (count >> level & 1) s = Join::join(waiting[level], s);
    return s;
  }
};

// The sums of n terms, on this thread.
template <int SUMS, class Join = Add, class Term>
inline void lane_sums(Index n, const Term& term, double* sums) {
  if (n <= lane_block) return block_sums<SUMS, Join>(0, n, term, sums);
  Tree<Join> trees[SUMS];
  for (Index i = 0; i < n; i += lane_block) {
    block_sums<SUMS, Join>(i, n - i < lane_block ? n : i + lane_block, term, sums);
    for (int k = 0; k < SUMS; k++) trees[k].add(sums[k]);
  }
  for (int k = 0; k < SUMS; k++) sums[k] = trees[k].sum();
}

// ---------------------------------------------------------------------------------- across memory
// The lanes of SUMS × columns sums.
template <int SUMS>
constexpr Index row_sums_scratch(Index columns) {
  return lane_count * SUMS * columns;
}

// So many rows are taken in at a time, some of each lane: meanwhile the lanes' sums wait in a cache.
constexpr Index row_depth = 4 * lane_count;

struct Nothing {
  void operator()(Index, Index) const {}
};

// The sums of one block of rows, for each column: sums[k * columns + j] = Σ over [begin, end) of row. Here the term is
// term(row, j, count, t), of columns j, j + 1, …; begin is a multiple of 8. `scratch`: row_sums_scratch numbers. Before
// rows [first, last) are taken in, before(first, last) may prepare them.
template <int SUMS, class Join = Add, class Term, class Before = Nothing>
inline void row_sums(Index begin, Index end, Index columns, const Term& of_rows, double* sums, double* scratch,
                     const Before& before = {}) {
  constexpr int n = lanes<double>, depth = row_depth / lane_count;
  const Term term = of_rows;  // a copy is kept in registers, whatever is stored meanwhile
  Index row_of_lanes = SUMS * columns;
  for (Index i = 0; i < lane_count * row_of_lanes; i++) scratch[i] = Join::none;
  auto add = [=](Index row, Index j, auto rows, auto count, double* s) {
    Vector<double> sum[SUMS], t[SUMS];
    for (int k = 0; k < SUMS; k++) sum[k] = load_first<Vector<double>>(s + k * columns, count);
    for (Index q = 0; q < rows; q++) {
      term(row + q * lane_count, j, count, t);
      for (int k = 0; k < SUMS; k++) sum[k] = Join::join(sum[k], t[k]);
    }
    for (int k = 0; k < SUMS; k++) store_first(s + k * columns, sum[k], count);
  };
  struct Depth {
    constexpr operator Index() const { return depth; }
  };
  for (Index first = begin; first < end; first += row_depth) {
    before(first, end - first < row_depth ? end : first + row_depth);
    for (int lane = 0; lane < lane_count && first + lane < end; lane++) {
      Index row = first + lane, rows = (end - row + lane_count - 1) / lane_count, j = 0;
      double* s = scratch + lane * row_of_lanes;
      if (rows >= depth)
        for (; j + n <= columns; j += n) add(row, j, Depth{}, Whole{}, s + j);
      if (rows > depth) rows = depth;
      for (; j + n <= columns; j += n) add(row, j, rows, Whole{}, s + j);
      if (j < columns) add(row, j, rows, columns - j, s + j);
    }
  }
  for (Index i = 0; i < row_of_lanes; i++) sums[i] = sum_of_lanes<Join>(scratch + i, row_of_lanes);
}

// The tree over all blocks of `width` sums each, which follow each other in memory; the result takes the first's place.
template <class Join = Add>
inline void tree_of_blocks(double* sums, Index blocks, Index width) {
  for (; blocks > 1; blocks = (blocks + 1) / 2) {
    for (Index b = 0; b < blocks; b += 2) {
      double *to = sums + b / 2 * width, *left = sums + b * width, *right = left + width;
      if (b + 1 < blocks)
        for (Index j = 0; j < width; j++) to[j] = Join::join(left[j], right[j]);
      else
        for (Index j = 0; j < width; j++) to[j] = left[j];
    }
  }
}

}  // namespace
}  // namespace kinone::KINONE_ISA

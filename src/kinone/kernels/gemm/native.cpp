// y[i, j] = Σₚ a[i, p]·b[p, j] (+ bias), in the order of profile kn1:
//
//   for each chunk of 384 p, in order:   s = +0;   for p in the chunk, in order:   s = fma(a[i, p], b[p, j], s)
//                                        y[i, j] = s for the first chunk, y[i, j] + s for the others
//   y[i, j] + bias at the end;  a NaN is np.nan's.
//
// Vectors run along j, never along p: so neither their width nor any size below but `chunk` can change a bit, nor can
// the number of threads, the strides of the operands, or which of the loops below computed an element.
//
// A tile of y, ROWS × (VECTORS·lanes) numbers, stays in registers over a chunk (`tile`). Around it, for large matrices:
//
//   for columns by 3072          j0
//     for p by 384               p0:  pack b[p0:, j0:] into panels of a tile's width      (all threads, shared)
//       for rows by ≈ 256        i0:  pack a[i0:, p0:] into panels of a tile's height     (each thread its own)
//         for panels of b             one panel of b stays in the first- or second-level cache
//           for panels of a           the tile
//
// With few rows each number of b is used too seldom to be worth packing for all (`few_rows`): each thread takes a share
// of the columns and reads a where it lies, and b too if its rows are contiguous; up to a tile's height of rows, b is
// read in one sweep. With few columns the product is transposed. Batches of small products are shared out whole.
#include "native.hpp"

#include "../native/pool.hpp"
#include "tile.hpp"

namespace kinone::KINONE_ISA {
namespace {

// None of these changes a bit.
constexpr Index most_columns = 3072;      // of b in the shared panels: 4.5 MB of float32
constexpr Index block_bytes = 384 << 10;  // of a in a thread's panels: a third of a second-level cache
constexpr Index few = 64;                 // rows up to which b is not packed for all
constexpr Index small = 1 << 19;          // multiplications up to which one thread is quicker than waking others
constexpr Index most_swept = 4096;        // columns at a time whose sums wait in a cache

template <class T>
constexpr size_t panel_bytes = chunk * width<T> * sizeof(T);

template <class T>
constexpr size_t swept_bytes = most_rows * most_swept * sizeof(T);

// Each thread packs panels of b of its own, and reads all of a for each.
template <class T>
void panels_of_b(const Gemm<T>& g, const Crew& crew) {
  Index panels = blocks(g.n, width<T>);
  Index tasks = min(panels, 4 * threads());
  for (Index p0 = 0; p0 < g.k; p0 += chunk) {
    Index depth = min(chunk, g.k - p0);
    crew(tasks, panel_bytes<T>, [&](Index task, char* scratch) {
      for (Index panel = task * panels / tasks; panel < (task + 1) * panels / tasks; panel++) {
        Index j = panel * width<T>, vectors = vectors_at(g, j);
        const T* b = g.b + p0 * g.b_k + j;
        Index b_k = g.b_k;
        if (g.b_column != 1 || g.n - j < vectors * lanes<T>) {
          pack_b(g, reinterpret_cast<T*>(scratch), j, p0, depth);
          b = reinterpret_cast<T*>(scratch);
          b_k = vectors * lanes<T>;
        }
        for (Index i = 0; i < g.m; i += most_rows)
          tiles<T, false>.of[min(g.m - i, most_rows) - 1][vectors - 1](
              g, corner(g, i, j, p0), depth, g.a + i * g.a_row + p0 * g.a_k, g.a_row, g.a_k, b, b_k);
      }
    });
  }
}

// One to most_rows rows and rows of b side by side: b is read once, in the order in which it lies, four rows at a time,
// and the sums of a chunk wait in scratch.
template <class T, int ROWS>
void sweep(const Gemm<T>& g, Index j0, Index j1, T* sums) {
  constexpr int n = lanes<T>, step = 4;
  Index columns = j1 - j0, most = rounded(columns, n);
  for (Index p0 = 0; p0 < g.k; p0 += chunk) {
    Index depth = min(chunk, g.k - p0);
    for (Index i = 0; i < ROWS * most; i++) sums[i] = 0;
    for (Index p = 0; p < depth; p += step) {
      const T* a = g.a + (p0 + p) * g.a_k;
      const T* b = g.b + (p0 + p) * g.b_k + j0;
      int now = min(step, depth - p);
      Index j = 0;
      for (; j + n <= columns && now == step; j += n) {
        Vector<T> x[step];
        for (int q = 0; q < step; q++) {
          x[q] = load<Vector<T>>(b + q * g.b_k + j);
          __builtin_prefetch(b + (q + step) * g.b_k + j);
        }
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
          Vector<T> s = load<Vector<T>>(sums + i * most + j);
          for (int q = 0; q < step; q++) s = fma(broadcast(a[i * g.a_row + q * g.a_k]), x[q], s);
          store(sums + i * most + j, s);
        }
      }
      for (int i = 0; i < ROWS; i++)
        for (int q = 0; q < now; q++)
          for (Index rest = j; rest < columns; rest++) {
            T& s = sums[i * most + rest];
            s = fma(a[i * g.a_row + q * g.a_k], b[q * g.b_k + rest], s);
          }
    }
    Corner<T> at = corner(g, 0, j0, p0);
    at.columns = columns;
    put_each(g, at, ROWS, most, sums);
  }
}

template <class T>
using Sweep = void (*)(const Gemm<T>&, Index, Index, T*);

template <class T>
struct Sweeps {
  Sweep<T> of[most_rows];

  template <int... i>
  static constexpr Sweeps all(Indices<i...>) {
    return {{sweep<T, i + 1>...}};
  }
};

template <class T>
constexpr Sweeps<T> sweeps = Sweeps<T>::all(typename Counted<most_rows>::type{});

// A row times a column: no vector runs along p, but the chunks are sums of their own, so eight go side by side.
template <class T>
void dot(const Gemm<T>& g) {
  constexpr int most = 8;
  for (Index p0 = 0; p0 < g.k; p0 += most * chunk) {
    T s[most] = {};
    Index count = min(most, (g.k - p0) / chunk), done = count == most ? chunk : 0;
    const T* a = g.a + p0 * g.a_k;
    const T* b = g.b + p0 * g.b_k;
    for (Index p = 0; p < done; p++)
#pragma GCC unroll 8
      for (int c = 0; c < most; c++) s[c] = fma(a[(c * chunk + p) * g.a_k], b[(c * chunk + p) * g.b_k], s[c]);
    for (int c = 0; c < most && p0 + c * chunk < g.k; c++) {
      for (Index p = c * chunk + done; p < min((c + 1) * chunk, g.k - p0); p++) s[c] = fma(a[p * g.a_k], b[p * g.b_k], s[c]);
      put_each(g, corner(g, 0, 0, p0 + c * chunk), 1, 1, s + c);
    }
  }
}

template <class T>
void few_rows(const Gemm<T>& g, const Crew& crew) {
  bool is_side_by_side = g.b_column == 1 && g.m <= most_rows;
  if (g.m == 1 && g.n == 1) return dot(g);
  if (!is_side_by_side) return panels_of_b(g, crew);
  Index columns = crew.scratch ? most_swept : min(most_swept, max(rounded(blocks(g.n, 4 * threads()), width<T>), 512));
  crew(blocks(g.n, columns), swept_bytes<T>, [&](Index task, char* scratch) {
    sweeps<T>.of[g.m - 1](g, task * columns, min((task + 1) * columns, g.n), reinterpret_cast<T*>(scratch));
  });
}

template <class T>
size_t shared_bytes(const Gemm<T>& g) {
  return min(chunk, g.k) * rounded(min(g.n, most_columns), width<T>) * sizeof(T);
}

// `shared` has room for shared_bytes, each thread's scratch for block_bytes.
template <class T>
void many_rows(const Gemm<T>& g, const Crew& crew, T* shared) {
  Index most = block_bytes / (chunk * sizeof(T));
  Index row_blocks = max(blocks(g.m, most), crew.scratch ? 1 : min(2 * threads(), blocks(g.m, few)));
  Index rows = rounded(blocks(g.m, row_blocks), most_rows);
  row_blocks = blocks(g.m, rows);
  bool is_packed = g.n > few;  // else each number of a is used too seldom for that
  for (Index j0 = 0; j0 < g.n; j0 += most_columns) {
    Index panels = blocks(min(most_columns, g.n - j0), width<T>);
    Index shares = min(panels, crew.scratch ? 1 : blocks(2 * threads(), row_blocks));
    for (Index p0 = 0; p0 < g.k; p0 += chunk) {
      Index depth = min(chunk, g.k - p0);
      crew(panels, 0, [&](Index panel, char*) {
        pack_b(g, shared + panel * depth * width<T>, j0 + panel * width<T>, p0, depth);
      });
      crew(row_blocks * shares, block_bytes, [&](Index task, char* scratch) {
        T* block = reinterpret_cast<T*>(scratch);
        Index i0 = task / shares * rows, i1 = min(i0 + rows, g.m), share = task % shares;
        for (Index i = i0; i < i1 && is_packed; i += most_rows)
          pack<side<T>>(block + (i - i0) * depth, most_rows, g.a + i * g.a_row + p0 * g.a_k, min(i1 - i, most_rows),
                        most_rows, g.a_row, depth, g.a_k);
        for (Index panel = share * panels / shares; panel < (share + 1) * panels / shares; panel++) {
          Index j = j0 + panel * width<T>, vectors = vectors_at(g, j);
          const T* b = shared + panel * depth * width<T>;
          for (Index i = i0; i < i1; i += most_rows) {
            const T* a = is_packed ? block + (i - i0) * depth : g.a + i * g.a_row + p0 * g.a_k;
            (is_packed ? tiles<T, true>.of : tiles<T, false>.of)[min(i1 - i, most_rows) - 1][vectors - 1](
                g, corner(g, i, j, p0), depth, a, g.a_row, g.a_k, b, vectors * lanes<T>);
          }
        }
      });
    }
  }
}

// Whether all of a fits in the first-level cache or nearly, so that reading it again for each panel of b costs nothing.
template <class T>
bool is_short(const Gemm<T>& g, bool is_alone) {
  return g.m <= few || (is_alone && g.m * min(g.k, chunk) * sizeof(T) <= (64 << 10));
}

template <class T>
void product(const Gemm<T>& g, const Crew& crew) {
  if (g.k == 0) {
    for (Index i = 0; i < g.m; i++) {
      const T zeros[64] = {};
      for (Index j = 0; j < g.n; j += 64) put_each(g, corner(g, i, j, 0), 1, 64, zeros);
    }
  } else if (is_short(g, crew.scratch)) {
    few_rows(g, crew);
  } else if (crew.scratch) {
    many_rows(g, {crew.scratch + shared_bytes(g)}, reinterpret_cast<T*>(crew.scratch));
  } else {
    many_rows(g, crew, reinterpret_cast<T*>(workspace(shared_bytes(g))));
  }
}

template <class T>
size_t scratch_bytes(const Gemm<T>& g) {
  return is_short(g, true) ? max(panel_bytes<T>, swept_bytes<T>) : shared_bytes(g) + block_bytes;
}

// yᵀ = bᵀ·aᵀ
template <class T>
Gemm<T> transposed(const Gemm<T>& g) {
  return {g.n, g.m, g.k, g.b, g.b_column, g.b_k, g.a, g.a_k, g.a_row, g.y, g.y_column, g.y_row,
          g.bias, g.bias_column, g.bias_row};
}

// The product of number i.
template <class T>
Gemm<T> at(Gemm<T> g, const Batch& batch, Index i) {
  for (int axis = batch.axes; axis-- > 0; i /= batch.shape[axis]) {
    Index index = i % batch.shape[axis];
    g.a += index * batch.a[axis], g.b += index * batch.b[axis], g.y += index * batch.y[axis];
  }
  return g;
}

template <class T>
void all_products(Gemm<T> g, Batch batch) {
  bool is_transposed = g.n < lanes<T> && g.m > g.n;
  if (is_transposed) {
    g = transposed(g);
    for (int axis = 0; axis < batch.axes; axis++) {
      Index a = batch.a[axis];
      batch.a[axis] = batch.b[axis], batch.b[axis] = a;
    }
  }
  Index count = 1;
  for (int axis = 0; axis < batch.axes; axis++) count *= batch.shape[axis];
  double work = static_cast<double>(g.m) * g.n * g.k;
  if (work * count <= small) {
    Crew alone{workspace(scratch_bytes(g))};
    for (Index i = 0; i < count; i++) product(at(g, batch, i), alone);
  } else if (count >= 2 * threads() || work <= small) {
    Index tasks = min(count, 8 * threads());
    parallel(tasks, scratch_bytes(g), [&](Index task, char* scratch) {
      for (Index i = task * count / tasks; i < (task + 1) * count / tasks; i++) product(at(g, batch, i), {scratch});
    });
  } else {
    for (Index i = 0; i < count; i++) product(at(g, batch, i), {});
  }
}

}  // namespace

void gemm(const Gemm<float>& g, const Batch& batch) { all_products(g, batch); }
void gemm(const Gemm<double>& g, const Batch& batch) { all_products(g, batch); }

}  // namespace kinone::KINONE_ISA

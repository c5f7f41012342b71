// Attention without the matrix of scores, with the bits of matmul, softmax and matmul one after another (profile kn1):
//
//   s = (q·kᵀ)·scale + mask    P = softmax(s)    y = P·v    lse = log Σ exp s      (see gemm, and softmax in normalize)
//   with dropout y = D(P)·v, and gv and dP alike, D(x) = kept ? x/(1 − p) : 0 by the noise of an element's place
//   dP = g·vᵀ    dS = P·(dP + g_lse − Σ g·y)    gq = (dS·k)·scale    gk = (dSᵀ·q)·scale    gv = Pᵀ·g
//
// The products are gemm's chains, y and gq over keys, gk and gv over queries, each in order and in chunks of 384.
// All is rounded after each operation, g_lse − Σ g·y once; Σ g·y is a lane sum.
// A key that a query may not see has s = −∞, so P = 0, and takes part in the sums all the same; but with is_causal,
// pairs of 16 queries and 16 keys of which no query sees a key take part in none. Without any key, y = 0 and lse = −∞.
//
//   for each sequence               pack k and v into panels          (threads share the sequences or, if those are few,
//     for blocks of queries         P and dS of a block exist at once                                       the groups)
//       for groups of queries       s, P, y;  backward: s, P, dP, dS, gq
//       for groups of keys          backward: the chains of gk and gv go on over the block's queries
#include "native.hpp"

#include <initializer_list>

#include "../native/pool.hpp"
#include "../normalize/rows.hpp"
#include "../random/masks.hpp"
#include "panels.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index causal_group = 16;  // of the profile
constexpr Index group = 48;         // queries or keys done together; a multiple of causal_group and a divisor of chunk
constexpr Index block_bytes = 512 << 10;  // of P and dS if one thread does the sequence
constexpr double small = 1 << 18;        // multiplications up to which one thread is quicker than waking others

// Memory handed out piece by piece; from nowhere, it says how much there has to be.
struct Room {
  char* begin = nullptr;
  size_t taken = 0;
  template <class T>
  T* take(Index n) {
    T* p = reinterpret_cast<T*>(begin + taken);
    taken += rounded(n * sizeof(T), 64);
    return p;
  }
  template <class T>
  Panels<T> panels(Index depth, Index columns) {
    return {take<T>(Panels<T>::size(depth, columns)), depth, columns};
  }
};

// ---------------------------------------------------------------------------------- one sequence
// How many keys take part for the queries from i to the end of its group.
template <class T>
Index keys_at(const Attention<T>& a, Index i) {
  return a.is_causal ? min(a.keys, rounded(i + 1, causal_group)) : a.keys;
}

template <class T>
Index group_of(const Attention<T>& a) {
  return a.is_causal ? causal_group : group;
}

// The products q·kᵀ of query i with n keys become its probabilities.
template <class T>
void probabilities(const Attention<T>& a, Index i, Index n, T* s, T* lse) {
  const T hidden = -static_cast<T>(__builtin_inf());
  for (Index j = 0; j < n; j++) s[j] *= a.scale;
  if (const T* added = a.added.data)
    for (Index j = 0; j < n; j++) s[j] += added[i * a.added.row + j * a.added.column];
  if (const bool* seen = a.seen.data)
    for (Index j = 0; j < n; j++) s[j] = seen[i * a.seen.row + j * a.seen.column] ? s[j] : hidden;
  for (Index j = i + 1; a.is_causal && j < n; j++) s[j] = hidden;
  T m = largest(s, n);
  bool sees_none = m == hidden;
  if (sees_none) m = 0;
  double sum = exponentials(s, n, m, s);
  if (lse) *lse = one_nan(static_cast<T>(ln(sum) + m));
  shares(s, n, sees_none && sum == 0 ? T(0) : static_cast<T>(1 / sum), s);
}

// Row i of P, or of its gradient, under dropout.
template <class T>
void drop(const Attention<T>& a, Index i, Index n, T* s) {
  constexpr Index some = 256;
  int mask[some];
  Draw d = a.draw;
  d.start += i * a.keys;
  Index least = limit(1 - a.p);
  T divisor = 1 - a.p;
  for (Index j = 0; j < n && a.p != 0; j += some, d.start += some) {
    Index now = min(some, n - j);
    fill(d, mask, 0, now, [=](const Pair& words, int* to) { put_mask(words, least, to); });
    for (Index c = 0; c < now; c++) s[j + c] = mask[c] ? one_nan(s[j + c] / divisor) : 0;
  }
}

// s = P for `rows` queries from i, a group.
template <class T>
void rows_of_p(const Attention<T>& a, Index i, Index rows, const Panels<T>& k, T* s, Index s_row) {
  Index n = keys_at(a, i);
  whole_product(s, s_row, rows, n, a.q.data + i * a.q.row, a.q.row, a.q.column, k, a.d);
  for (Index r = 0; r < rows; r++)
    probabilities(a, i + r, n, s + r * s_row, a.lse.data ? a.lse.data + (i + r) * a.lse.row : nullptr);
}

// y = s·scale, the NaNs made one.
template <class T>
void put(const Matrices<T>& y, Index i, Index rows, Index columns, const T* s, Index s_row, T scale) {
  for (Index r = 0; r < rows; r++) {
    T* to = y.data + (i + r) * y.row;
    each_vector<T>(columns, [&](Index j, auto count) {
      store_first(to + j, one_nan(load_first<Vector<T>>(s + r * s_row + j, count) * scale), count);
    });
  }
}

// What a sequence is computed in.
template <class T>
struct Memory {
  Index s_row, y_row, k_row;
  Panels<T> kt, v;                // q·kᵀ, P·v
  Panels<T> vt, k, q, g;          // g·vᵀ, dS·k, dSᵀ·q, Pᵀ·g: those of q and g of a block of queries
  T *p, *ds, *gk, *gv;            // of a block of queries; the chains of gk and gv, which go on from block to block

  Memory(const Attention<T>& a, Index block, Room& room)
      : s_row(rounded(a.keys, lanes<T>)), y_row(rounded(a.e, lanes<T>)), k_row(rounded(a.d, lanes<T>)) {
    kt = room.panels<T>(a.d, a.keys);
    if (!a.g.data) {
      v = room.panels<T>(a.keys, a.e);
      return;
    }
    vt = room.panels<T>(a.e, a.keys);
    p = room.take<T>(block * s_row), ds = room.take<T>(block * s_row);
    if (a.g_mask.data) return;
    k = room.panels<T>(a.keys, a.d), q = room.panels<T>(block, a.d), g = room.panels<T>(block, a.e);
    gk = room.take<T>(a.keys * k_row), gv = room.take<T>(a.keys * y_row);
  }
};

// What a group of its queries is computed in.
template <class T>
struct Work {
  T *s, *y;

  Work(const Attention<T>& a, Room room, size_t* bytes = nullptr) {
    s = room.take<T>(group * rounded(a.keys, lanes<T>));
    y = room.take<T>(group * rounded(max(a.d, a.e), lanes<T>));
    if (bytes) *bytes = room.taken;
  }
  static size_t bytes(const Attention<T>& a) {
    size_t bytes;
    Work(a, {}, &bytes);
    return bytes;
  }
};

template <class T>
void forward(const Attention<T>& a, const Memory<T>& m, Index, const Crew& crew) {
  Index step = group_of(a);
  m.kt.pack(a.k.data, a.k.column, a.k.row);
  m.v.pack(a.v.data, a.v.row, a.v.column);
  crew(blocks(a.queries, step), Work<T>::bytes(a), [&](Index task, char* scratch) {
    Work<T> work(a, {scratch});
    Index i = task * step, rows = min(step, a.queries - i);
    rows_of_p(a, i, rows, m.kt, work.s, m.s_row);
    for (Index r = 0; r < rows; r++) drop(a, i + r, keys_at(a, i), work.s + r * m.s_row);
    whole_product(work.y, m.y_row, rows, a.e, work.s, m.s_row, 1, m.v, keys_at(a, i));
    put(a.y, i, rows, a.e, work.y, m.y_row, T(1));
  });
}

// ---------------------------------------------------------------------------------- its gradients
// p = D(P) and ds = dS for `rows` queries from i, a group; and gq, or that of the mask.
template <class T>
void backward_of_queries(const Attention<T>& a, Index i, Index rows, const Memory<T>& m, T* p, T* ds,
                         const Work<T>& work) {
  Index n = keys_at(a, i);
  rows_of_p(a, i, rows, m.kt, p, m.s_row);
  whole_product(ds, m.s_row, rows, n, a.g.data + i * a.g.row, a.g.row, a.g.column, m.vt, a.e);
  for (Index r = 0; r < rows; r++) {
    const T *g = a.g.data + (i + r) * a.g.row, *y = a.y.data + (i + r) * a.y.row;
    double sum;
    lane_sums<1>(a.e, [&](Index j, auto count, Vector<double>* t) {
      t[0] = load_doubles(g + j, count) * load_doubles(y + j, count);
    }, &sum);
    const T shift = static_cast<T>(a.g_lse.data[(i + r) * a.g_lse.row] - sum);
    T *p_row = p + r * m.s_row, *ds_row = ds + r * m.s_row;
    drop(a, i + r, n, ds_row);
    for (Index j = 0; j < n; j += lanes<T>)  // rows are filled to whole vectors
      store(ds_row + j, load<Vector<T>>(p_row + j) * (load<Vector<T>>(ds_row + j) + shift));
    drop(a, i + r, n, p_row);
  }
  if (a.g_mask.data) {
    put(a.g_mask, i, rows, n, ds, m.s_row, T(1));
    for (Index r = 0; r < rows; r++)
      for (Index j = n; j < a.keys; j++) a.g_mask.data[(i + r) * a.g_mask.row + j] = 0;
  } else {
    whole_product(work.y, m.k_row, rows, a.d, ds, m.s_row, 1, m.k, n);
    put(a.gq, i, rows, a.d, work.y, m.k_row, a.scale);
  }
}

// The chains of gk and gv of `rows` keys from j go on over the queries [i0, i1), whose P and dS lie in m; at the end of
// a chunk their sums join those of the chunks before.
template <class T>
void backward_of_keys(const Attention<T>& a, Index j, Index rows, Index i0, Index i1, const Memory<T>& m) {
  Index from = a.is_causal ? max(i0, j) : i0;
  T *gk = m.gk + j * m.k_row, *gv = m.gv + j * m.y_row;
  if (from < i1) {
    Index skipped = (from - i0) * m.s_row + j;
    product(Chain::continued, gk, m.k_row, rows, a.d, m.ds + skipped, 1, m.s_row, m.q.of(i1 - i0), from - i0, i1 - i0);
    product(Chain::continued, gv, m.y_row, rows, a.e, m.p + skipped, 1, m.s_row, m.g.of(i1 - i0), from - i0, i1 - i0);
  }
  bool is_last = i1 == a.queries;
  if (i1 % chunk && !is_last) return;
  auto join = [&](const Matrices<T>& total, T* s, Index s_row, Index columns, T scale) {
    for (Index r = 0; r < rows; r++) {
      T *to = total.data + (j + r) * total.row, *from = s + r * s_row;
      each_vector<T>(columns, [&](Index c, auto count) {
        Vector<T> x = load_first<Vector<T>>(from + c, count);
        if (i1 > chunk) x = load_first<Vector<T>>(to + c, count) + x;
        store_first(to + c, is_last ? one_nan(x * scale) : x, count);
        store_first(from + c, Vector<T>{}, count);
      });
    }
  };
  join(a.gk, gk, m.k_row, a.d, a.scale);
  join(a.gv, gv, m.y_row, a.e, T(1));
}

template <class T>
void backward(const Attention<T>& a, const Memory<T>& m, Index block, const Crew& crew) {
  Index step = group_of(a);
  m.kt.pack(a.k.data, a.k.column, a.k.row);
  m.vt.pack(a.v.data, a.v.column, a.v.row);
  if (!a.g_mask.data) {
    m.k.pack(a.k.data, a.k.row, a.k.column);
    for (Index i = 0; i < a.keys * m.k_row; i++) m.gk[i] = 0;
    for (Index i = 0; i < a.keys * m.y_row; i++) m.gv[i] = 0;
  }
  for (Index i0 = 0; i0 == 0 || i0 < a.queries; i0 += block) {
    Index i1 = min(i0 + block, a.queries);
    crew(blocks(i1 - i0, step), Work<T>::bytes(a), [&](Index task, char* scratch) {
      Index i = task * step;
      backward_of_queries(a, i0 + i, min(step, i1 - i0 - i), m, m.p + i * m.s_row, m.ds + i * m.s_row,
                          Work<T>(a, {scratch}));
    });
    if (a.g_mask.data) continue;
    m.q.of(i1 - i0).pack(a.q.data + i0 * a.q.row, a.q.row, a.q.column);
    m.g.of(i1 - i0).pack(a.g.data + i0 * a.g.row, a.g.row, a.g.column);
    crew(blocks(a.keys, step), 0, [&](Index task, char*) {
      backward_of_keys(a, task * step, min(step, a.keys - task * step), i0, i1, m);
    });
  }
}

// ---------------------------------------------------------------------------------- all of them
template <class T>
Attention<T> at(Attention<T> a, Index i) {
  a.draw.start += i * a.queries * a.keys;
  for (int axis = a.axes; axis-- > 0; i /= a.shape[axis]) {
    Index index = i % a.shape[axis];
    a.seen.data += index * a.seen.steps[axis];
    for (Matrices<T>* of : {&a.q, &a.k, &a.v, &a.y, &a.lse, &a.added, &a.g, &a.g_lse, &a.gq, &a.gk, &a.gv, &a.g_mask})
      of->data += index * of->steps[axis];
  }
  return a;
}

// f(sequence, memory, crew) for each: whole sequences are shared out, or, if they are fewer than the threads, each one.
template <class T, class F>
void each_sequence(const Attention<T>& a, const F& f) {
  double work = static_cast<double>(a.queries) * a.keys * (a.d + a.e);
  Index count = a.count(), block = rounded(max(min(a.queries, chunk), 1), causal_group);
  bool is_small = work * count < small, is_shared_out = is_small || count >= threads();
  for (Index rows : {192, 96, 48, 16})
    if (is_shared_out && 2 * block * a.keys * static_cast<Index>(sizeof(T)) > block_bytes) block = min(block, rows);
  Room needed;
  Memory<T>(a, block, needed);
  if (is_shared_out) {
    Index tasks = is_small ? 1 : count;
    parallel(tasks, needed.taken + Work<T>::bytes(a), [&](Index task, char* scratch) {
      Room room{scratch};
      Memory<T> memory(a, block, room);
      for (Index i = task * count / tasks; i < (task + 1) * count / tasks; i++)
        f(at(a, i), memory, block, Crew{scratch + room.taken});
    });
  } else {
    Room room{workspace(needed.taken)};
    Memory<T> memory(a, block, room);
    for (Index i = 0; i < count; i++) f(at(a, i), memory, block, Crew{});
  }
}

}  // namespace

template <class T>
void attention_forward(const Attention<T>& a) {
  each_sequence(a, forward<T>);
}

template <class T>
void attention_backward(const Attention<T>& a) {
  each_sequence(a, backward<T>);
}

template void attention_forward<float>(const Attention<float>&);
template void attention_forward<double>(const Attention<double>&);
template void attention_backward<float>(const Attention<float>&);
template void attention_backward<double>(const Attention<double>&);

}  // namespace kinone::KINONE_ISA

// Attention: what the kernels in native.cpp are asked for. Strides are in numbers, not bytes.
#pragma once

#include "../native/isa.hpp"
#include "../random/native.hpp"

namespace kinone {

// Matrices of a batch: their rows lie `row` apart, the numbers of a row side by side unless `column` says otherwise.
template <class T>
struct Matrices {
  static constexpr int most_axes = 16;
  T* data = nullptr;
  Index row = 0, column = 1;
  Index steps[most_axes] = {};  // from one matrix to the next, by axes; 0 repeats
};

// q (…, queries, d), k (…, keys, d), v (…, keys, e) → y (…, queries, e), lse (…, queries); g and g_lse are like y and
// lse, the gradients gq, gk, gv like q, k, v, and g_mask is (…, queries, keys).
template <class T>
struct Attention {
  int axes = 0;  // of the batch; the last one moves fastest
  Index shape[Matrices<T>::most_axes];
  Index queries, keys, d, e;
  bool is_causal;
  T scale;
  double p = 0;  // of dropout
  Draw draw{};   // element (sequence, query, key), counted on, of this one
  Matrices<T> q, k, v, y, lse;
  Matrices<T> added;     // a mask of numbers to add, or
  Matrices<bool> seen;   // one that says where a query may look; or neither
  Matrices<T> g, g_lse, gq, gk, gv, g_mask;

  Index count() const {
    Index count = 1;
    for (int axis = 0; axis < axes; axis++) count *= shape[axis];
    return count;
  }
};

KINONE_IN_EACH_ISA(
  template <class T> void attention_forward(const Attention<T>&);
  // Without g_mask the gradients of q, k and v; with it, that alone.
  template <class T> void attention_backward(const Attention<T>&);
)

}  // namespace kinone

// Vectors as wide as the instruction set that this file is compiled for, in the compilers' vector extensions.
//
// Sources of kernels are compiled once for each instruction set, KINONE_ISA naming the namespace. What lies in such a
// namespace may use the instructions of that set, so nothing from it may leak: no function of the standard library is
// called here, since the linker would keep one copy of it for all.
#pragma once

#include "numbers.hpp"

#ifndef KINONE_ISA
#error "compile with -DKINONE_ISA=<namespace of the instruction set>"
#endif

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace kinone::KINONE_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, registers = 16;
#else
constexpr int vector_bytes = 16, registers = 32;  // NEON
#endif

template <class T, int n>
struct VectorOf {
  typedef T type __attribute__((vector_size(n * sizeof(T))));
  typedef T in_memory __attribute__((vector_size(n * sizeof(T)), aligned(alignof(T)), may_alias));
};

// n numbers side by side.
template <class T, int n = vector_bytes / sizeof(T)>
using Vector = typename VectorOf<T, n>::type;

template <class T>
constexpr int lanes = vector_bytes / sizeof(T);

template <class V, class T>
inline V load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T, sizeof(V) / sizeof(T)>::in_memory*>(p);
}

template <class V, class T>
inline void store(T* p, V v) {
  *reinterpret_cast<typename VectorOf<T, sizeof(V) / sizeof(T)>::in_memory*>(p) = v;
}

// A result of more numbers than a cache keeps until they are read: stored there, each line would be read before it is
// written, and drive out what is still of use. Rows of `run` numbers must be whole lines, and a vector one.
template <class T>
inline bool goes_past_caches(const T* to, Index run, Index count) {
  Size place = reinterpret_cast<Size>(to) | run * sizeof(T);
  return vector_bytes == 64 && count * sizeof(T) >= 8 << 20 && place % 64 == 0;
}

// Other threads see it from the next locked instruction on, such as those that take tasks and end jobs.
template <class V, class T>
inline void store_past_caches(T* p, V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return _mm512_stream_si512(reinterpret_cast<__m512i*>(p), reinterpret_cast<__m512i>(v));
#endif
  store(p, v);
}

// x in every lane; subtracting +0 changes no number, not even −0.
template <class T>
inline Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

// a·b + c, rounded once. Neither compiler has this for vectors; both make one instruction of the loop, but GCC only
// where nothing around it leads its vectorizer astray.
template <class V>
inline V fma(V a, V b, V c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(a[0]) == 8) return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  if constexpr (sizeof(V) == 64 && sizeof(a[0]) == 4) return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32 && sizeof(a[0]) == 8) return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  if constexpr (sizeof(V) == 32 && sizeof(a[0]) == 4) return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  if constexpr (sizeof(V) == 16 && sizeof(a[0]) == 4) return (V)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#endif
  V y;
  for (unsigned i = 0; i < sizeof(V) / sizeof(a[0]); i++) y[i] = fma(a[i], b[i], c[i]);
  return y;
}

inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline double sqrt(double x) { return __builtin_sqrt(x); }

template <class V>
inline V sqrt(V x) {
  V y;
  for (unsigned i = 0; i < sizeof(V) / sizeof(x[0]); i++) y[i] = sqrt(x[i]);
  return y;
}

// Numbers as float64. GCC takes the vector in halves unless it is told the instruction.
template <class V>
inline Vector<double> doubles(V x) {
#if defined(__AVX512F__) && !defined(__clang__)
  if constexpr (sizeof(V) == 32) return (Vector<double>)__builtin_ia32_cvtps2pd512_mask(x, Vector<double>{}, -1, 4);
#elif defined(__AVX2__) && !defined(__clang__)
  if constexpr (sizeof(V) == 16) return (Vector<double>)__builtin_ia32_cvtps2pd256(x);
#endif
  return __builtin_convertvector(x, Vector<double>);
}

// And back, rounded.
template <class T>
inline Vector<T, lanes<double>> rounded_to(Vector<double> x) {
#if defined(__AVX512F__) && !defined(__clang__)
  if constexpr (sizeof(T) == sizeof(float)) return __builtin_ia32_cvtpd2ps512_mask(x, Vector<float, 8>{}, -1, 4);
#endif
  return __builtin_convertvector(x, Vector<T, lanes<double>>);
}

// The products of the lower halves, which the compilers do not always see as the one instruction that it is.
inline Vector<Size> multiply_halves(Vector<Size> a, Vector<Size> b) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vector<Size>>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vector<Size>>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

// For a choice between vectors, both of which are computed: of an fma that a branch may skip GCC makes as many
// instructions as it has numbers.
template <class T>
inline auto everywhere(bool is_so) {
  return Vector<T>{} == broadcast(T(!is_so));
}

// NaN has many bit patterns, and which one an operation gives depends on the processor and on the order of operands
// that the compiler chose: results bear the one of np.nan.
template <class V>
inline V one_nan(V x) {
  return x == x ? x : V{} + __builtin_nanf("");
}
inline float one_nan(float x) { return x == x ? x : __builtin_nanf(""); }
inline double one_nan(double x) { return x == x ? x : __builtin_nan(""); }

// Whether the mask, as comparisons give it, has a lane that is set.
inline bool any(Vector<Index> mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask);
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  Index bits = 0;
  for (int i = 0; i < lanes<Index>; i++) bits |= mask[i];
  return bits;
#endif
}

// Whether a lane is more than the bound.
inline bool any_above(Vector<Index> x, Index bound) {
#if defined(__AVX512F__)
  return _mm512_cmpgt_epi64_mask((__m512i)x, (__m512i)broadcast(bound));
#else
  return any(x > bound);
#endif
}

// Whether a lane has none of these bits.
inline bool any_without(Vector<Index> x, Index bits) {
#if defined(__AVX512F__)
  return _mm512_testn_epi64_mask((__m512i)x, (__m512i)broadcast(bits));
#else
  return any((x & bits) == 0);
#endif
}

template <int... i>
struct Indices {};
template <int n, int... i>
struct Counted : Counted<n - 1, n - 1, i...> {};
template <int... i>
struct Counted<0, i...> {
  using type = Indices<i...>;
};

template <int step, class V, int... i>
inline void exchange(V& a, V& b, Indices<i...>) {
  constexpr int n = sizeof...(i);
  V upper = __builtin_shufflevector(a, b, (i & step ? n + i - step : i)...);
  b = __builtin_shufflevector(a, b, (i & step ? n + i : i + step)...);
  a = upper;
}

// The transpose of n vectors of n numbers, n a power of two: blocks beside the diagonal, of 1, 2, 4, … numbers a side,
// change places.
template <int n, int step = 1, class V>
inline void transpose(V (&x)[n]) {
  if constexpr (step < n) {
    for (int i = 0; i < n; i++)
      if (!(i & step)) exchange<step>(x[i], x[i + step], typename Counted<n>::type{});
    transpose<n, 2 * step>(x);
  }
}

}  // namespace kinone::KINONE_ISA

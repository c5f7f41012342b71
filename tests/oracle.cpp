// Which float32 results are surely the nearest to the exact value? Built by correct_rounding.py where it runs.
//
// The C library's functions of double are independent of Kinone's and err by a few of their last bits. If rounding both
// ends of an interval around such a value, 2⁻⁴⁸ of it to either side, gives one float32, that one is right. What cannot
// be decided so, one input in some ten million, is left to MPFR.
#include <stdlib.h>
#include <string.h>

#if __has_attribute(simd) && defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define FUNCTION __attribute__((simd("notinbranch"))) double  // glibc has them for vectors too, in libmvec
#endif
#endif
#ifndef FUNCTION
#define FUNCTION double
#endif

extern "C" {
FUNCTION acos(double);
FUNCTION acosh(double);
FUNCTION asin(double);
FUNCTION asinh(double);
FUNCTION atan(double);
FUNCTION atanh(double);
FUNCTION cos(double);
FUNCTION cosh(double);
FUNCTION erf(double);
FUNCTION erfc(double);
FUNCTION exp(double);
FUNCTION exp2(double);
FUNCTION expm1(double);
FUNCTION log(double);
FUNCTION log10(double);
FUNCTION log1p(double);
FUNCTION log2(double);
FUNCTION sin(double);
FUNCTION sinh(double);
FUNCTION tan(double);
FUNCTION tanh(double);
float nextafterf(float, float);
}

namespace {

constexpr double margin = 0x1p-48;

double sigmoid(double x) { return 1 / (1 + exp(-x)); }
double rsqrt(double x) { return 1 / __builtin_sqrt(x); }

unsigned pattern(float x) { return __builtin_bit_cast(unsigned, x); }
int are_same(float a, float b) { return int{pattern(a) == pattern(b)} | (int{a != a} & int{b != b}); }

// The places at which y[i] is not surely the function of x[i], `most` of them at most, and their number.
template <double f(double)>
long unsure(const float* x, const float* y, long count, unsigned* places, long most) {
  constexpr int block = 256;
  long found = 0;
  for (long first = 0; first < count; first += block) {
    int size = count - first < block ? static_cast<int>(count - first) : block;
    double exact[block];
    for (int i = 0; i < size; i++) exact[i] = f(x[first + i]);
    char is_sure[block], are_sure = 1;
    for (int i = 0; i < size; i++) {
      float low = static_cast<float>(exact[i] * (1 - margin)), high = static_cast<float>(exact[i] * (1 + margin));
      is_sure[i] = static_cast<char>(are_same(low, high) & are_same(low, y[first + i]));
      are_sure &= is_sure[i];
    }
    for (int i = 0; i < size && !are_sure; i++)
      if (!is_sure[i] && found < most) places[found++] = static_cast<unsigned>(first + i);
  }
  return found;
}

// erf grows: y is the float32 nearest to erf⁻¹ x if erf of the midpoints between y and its neighbours lies around x.
bool is_right_erfinv(float x, float y) {
  double size = __builtin_fabsf(x);
  if (!(size < 1)) return size == 1 ? y == x * __builtin_inff() : y != y;
  if (size == 0) return pattern(x) == pattern(y);
  if (y != y || (pattern(x) ^ pattern(y)) >> 31) return false;
  float near = __builtin_fabsf(y);
  double below = (static_cast<double>(near) + nextafterf(near, 0)) / 2;
  double above = (static_cast<double>(near) + nextafterf(near, __builtin_inff())) / 2;
  if (size < 0.5) return erf(below) * (1 + margin) < size && size < erf(above) * (1 - margin);
  return erfc(below) * (1 - margin) > 1 - size && 1 - size > erfc(above) * (1 + margin);
}

long unsure_erfinv(const float* x, const float* y, long count, unsigned* places, long most) {
  long found = 0;
  for (long i = 0; i < count && found < most; i++)
    if (!is_right_erfinv(x[i], y[i])) places[found++] = static_cast<unsigned>(i);
  return found;
}

const struct {
  const char* name;
  long (*unsure)(const float* x, const float* y, long count, unsigned* places, long most);
} functions[] = {
    {"acos", unsure<acos>},   {"acosh", unsure<acosh>}, {"asin", unsure<asin>},     {"asinh", unsure<asinh>},
    {"atan", unsure<atan>},   {"atanh", unsure<atanh>}, {"cos", unsure<cos>},       {"cosh", unsure<cosh>},
    {"erf", unsure<erf>},     {"erfc", unsure<erfc>},   {"erfinv", unsure_erfinv},  {"exp", unsure<exp>},
    {"exp2", unsure<exp2>},   {"expm1", unsure<expm1>}, {"log", unsure<log>},       {"log10", unsure<log10>},
    {"log1p", unsure<log1p>}, {"log2", unsure<log2>},   {"rsqrt", unsure<rsqrt>},   {"sigmoid", unsure<sigmoid>},
    {"sin", unsure<sin>},     {"sinh", unsure<sinh>},   {"tan", unsure<tan>},       {"tanh", unsure<tanh>},
};

}  // namespace

extern "C" long unsure(const char* name, const float* x, const float* y, long count, unsigned* places, long most) {
  for (const auto& f : functions)
    if (!strcmp(name, f.name)) return f.unsure(x, y, count, places, most);
  abort();
}

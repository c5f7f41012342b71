// Exponentials, logarithms and the error function: correctly rounded in float32 (functions.hpp says how).
#include "native.hpp"

#include "driver.hpp"

namespace kinone::KINONE_ISA {
namespace {

const Kernel table[] = {
    kernel("exp", []<class T>(T, Doubles x) { return exp<T>(x); }, "x"),
    kernel("exp2", []<class T>(T, Doubles x) { return exp2<T>(x); }, "x"),
    kernel("expm1", []<class T>(T, Doubles x) { return expm1<T>(x); }, "x"),
    kernel("log", []<class T>(T, Doubles x) { return log<T>(x); }, "x"),
    kernel("log2", []<class T>(T, Doubles x) { return log2<T>(x); }, "x"),
    kernel("log10", []<class T>(T, Doubles x) { return log10<T>(x); }, "x"),
    kernel("log1p", []<class T>(T, Doubles x) { return log1p<T>(x); }, "x"),
    kernel("tanh", []<class T>(T, Doubles x) { return tanh<T>(x); }, "x"),
    kernel("sigmoid", []<class T>(T, Doubles x) { return sigmoid<T>(x); }, "x"),
    kernel("erf", []<class T>(T, Doubles x) { return erf<T>(x); }, "x"),
    kernel("erfc", []<class T>(T, Doubles x) { return erfc<T>(x); }, "x"),
};

}  // namespace

Kernels exponentials() { return {table, sizeof(table) / sizeof(*table)}; }

}  // namespace kinone::KINONE_ISA

// Circular and hyperbolic functions and their inverses: correctly rounded in float32 (trigonometric.hpp says how).
#include "native.hpp"

#include "driver.hpp"
#include "trigonometric.hpp"

namespace kinone::KINONE_ISA {
namespace {

const Kernel table[] = {
    kernel("sin", []<class T>(T, Doubles x) { return sin<T>(x); }, "x"),
    kernel("cos", []<class T>(T, Doubles x) { return cos<T>(x); }, "x"),
    kernel("tan", []<class T>(T, Doubles x) { return tan<T>(x); }, "x"),
    kernel("asin", []<class T>(T, Doubles x) { return asin<T>(x); }, "x"),
    kernel("acos", []<class T>(T, Doubles x) { return acos<T>(x); }, "x"),
    kernel("atan", []<class T>(T, Doubles x) { return atan<T>(x); }, "x"),
    kernel("atan2", []<class T>(T, Doubles y, Doubles x) { return atan2<T>(y, x); }, "y", "x"),
    kernel("sinh", []<class T>(T, Doubles x) { return sinh<T>(x); }, "x"),
    kernel("cosh", []<class T>(T, Doubles x) { return cosh<T>(x); }, "x"),
    kernel("asinh", []<class T>(T, Doubles x) { return asinh<T>(x); }, "x"),
    kernel("acosh", []<class T>(T, Doubles x) { return acosh<T>(x); }, "x"),
    kernel("atanh", []<class T>(T, Doubles x) { return atanh<T>(x); }, "x"),
};

}  // namespace

Kernels trigonometric() { return {table, sizeof(table) / sizeof(*table)}; }

}  // namespace kinone::KINONE_ISA

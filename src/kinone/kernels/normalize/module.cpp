// normalize, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_softmax(nb::module_& m);  // in module_softmax.cpp

void add_normalize(nb::module_& m) { add_softmax(m); }

}  // namespace kinone

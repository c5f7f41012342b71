// convolution, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_convolution(nb::module_&) {}

}  // namespace kinone

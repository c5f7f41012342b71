// elementwise, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_elementwise(nb::module_&) {}

}  // namespace kinone

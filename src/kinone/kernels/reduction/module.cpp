// reduction, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_reduction(nb::module_&) {}

}  // namespace kinone

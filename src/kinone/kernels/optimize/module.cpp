// optimize, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_optimize(nb::module_&) {}

}  // namespace kinone

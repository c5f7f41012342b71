// random, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_random(nb::module_&) {}

}  // namespace kinone

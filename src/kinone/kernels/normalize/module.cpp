// normalize, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_normalize(nb::module_&) {}

}  // namespace kinone

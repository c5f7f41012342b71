// resize, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_resize(nb::module_&) {}

}  // namespace kinone

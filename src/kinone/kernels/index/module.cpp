// index, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_index(nb::module_&) {}

}  // namespace kinone

// recurrent, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_recurrent(nb::module_&) {}

}  // namespace kinone

// pooling, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_pooling(nb::module_&) {}

}  // namespace kinone

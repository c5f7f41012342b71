// attention, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_attention(nb::module_&) {}

}  // namespace kinone

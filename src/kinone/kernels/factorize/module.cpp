// factorize, as Python calls it.
#include "../native/array.hpp"

namespace kinone {

void add_factorize(nb::module_&) {}

}  // namespace kinone

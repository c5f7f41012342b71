// Rows of arrays along an axis, for the Python side of softmax and of the losses that are made of it.
#pragma once

#include <initializer_list>

#include "../native/array.hpp"
#include "softmax.hpp"

namespace kinone {

// The rows along `axis` of the first array, which the others have too or lack; in the order in which the first lies.
Rows rows_along(int axis, std::initializer_list<const Array*> arrays);

}  // namespace kinone

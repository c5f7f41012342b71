// Whole numbers as wide as a pointer: `long` is narrower than that on Windows.
#pragma once

namespace kinone {

using Index = __PTRDIFF_TYPE__;
using Size = __SIZE_TYPE__;

}  // namespace kinone

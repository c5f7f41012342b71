// Whole numbers as wide as a pointer: `long` is narrower than that on Windows. What counts with them has internal
// linkage: every source has a copy of its own.
#pragma once

namespace kinone {

using Index = __PTRDIFF_TYPE__;
using Size = __SIZE_TYPE__;

namespace {

constexpr Index min(Index a, Index b) { return a < b ? a : b; }
constexpr Index max(Index a, Index b) { return a < b ? b : a; }
constexpr Index blocks(Index n, Index size) { return (n + size - 1) / size; }
constexpr Index rounded(Index n, Index size) { return blocks(n, size) * size; }

}  // namespace

}  // namespace kinone

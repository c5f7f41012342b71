// Which of the instruction sets that this build holds runs the kernels.
#pragma once

namespace kinone {

enum class Isa { avx2, avx512, neon };

// The kernel of the instruction set in use, out of one for each that the build holds.
Isa isa();

}  // namespace kinone

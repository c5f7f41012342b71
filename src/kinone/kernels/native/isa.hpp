// Which of the instruction sets that this build holds runs the kernels.
#pragma once

namespace kinone {

enum class Isa { avx2, avx512, neon };

Isa isa();  // the one in use

}  // namespace kinone

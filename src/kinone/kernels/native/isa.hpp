// Which of the instruction sets that this build holds runs the kernels.
#pragma once

#include "numbers.hpp"

namespace kinone {

enum class Isa { avx2, avx512, neon };

Isa isa();  // the one in use

}  // namespace kinone

// The same declarations in the namespace of every instruction set, and a call of the one in use. No template can name
// a namespace, so these two are macros.
#define KINONE_IN_EACH_ISA(...) \
  namespace avx2 {              \
  __VA_ARGS__                   \
  }                             \
  namespace avx512 {            \
  __VA_ARGS__                   \
  }                             \
  namespace neon {              \
  __VA_ARGS__                   \
  }

#ifdef KINONE_HAS_X86
#define KINONE_CALL(...) (isa() == Isa::avx512 ? avx512::__VA_ARGS__ : avx2::__VA_ARGS__)
#else
#define KINONE_CALL(...) neon::__VA_ARGS__
#endif

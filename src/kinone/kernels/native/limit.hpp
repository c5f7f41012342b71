// The machine's limit: fused multiply-adds that wait for nothing but each other's registers.
#pragma once

namespace kinone {
namespace avx2 {
double multiply_adds(char type, long rounds);
}
namespace avx512 {
double multiply_adds(char type, long rounds);
}
namespace neon {
double multiply_adds(char type, long rounds);
}
}  // namespace kinone

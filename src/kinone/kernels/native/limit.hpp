// The machine's limits: fused multiply-adds that wait for nothing but each other's registers, and a copy.
#pragma once

#include "isa.hpp"

namespace kinone {

KINONE_IN_EACH_ISA(
  double multiply_adds(char type, Index rounds);
  void copy(float* y, const float* x, Index n);
)

}  // namespace kinone

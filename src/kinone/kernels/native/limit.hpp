// The machine's limit: fused multiply-adds that wait for nothing but each other's registers.
#pragma once

#include "isa.hpp"

namespace kinone {

KINONE_IN_EACH_ISA(double multiply_adds(char type, long rounds);)

}  // namespace kinone

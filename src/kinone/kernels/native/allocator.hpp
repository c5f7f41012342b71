// Memory for arrays that is kept and used again: fresh memory costs a page fault for every 4 KB, which for large
// element-wise results is more than the arithmetic.
//
// NumPy lets a program give it an allocator; every array made afterwards, NumPy's own results included, takes its
// memory here and gives it back here. A block goes to a list of its size class (eight to each power of two) and waits
// there. What is in use and what waits are together never more than a half above the most that was ever in use:
// beyond that, waiting blocks go back to the system, those that have waited longest first.
#pragma once

#include <cstddef>

namespace kinone {

// New arrays of this thread take their memory here, if that was asked for.
void use_allocator();
void set_allocator(bool is_on);

struct MemoryInUse {
  size_t used, waiting, most_used;
};
MemoryInUse memory_in_use();
void forget_most_used();   // it counts from now on
void release_memory();     // all blocks that wait go back to the system

}  // namespace kinone

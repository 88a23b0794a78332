// One block of memory for all intermediate tensors: each lives from the step that writes it to the
// last that reads it, and blocks whose lives do not meet may share bytes.
#pragma once

#include <cstddef>
#include <vector>

namespace milane::host {

struct ArenaBlock {
  std::size_t bytes = 0;
  int first = 0, last = 0;  // steps, both inclusive
  int same_as = -1;         // share the bytes of this earlier block (in-place result), or -1
  std::size_t offset = 0;   // result, a multiple of 64
};

// Fills in the offsets; returns the arena's size in bytes.
std::size_t place_blocks(std::vector<ArenaBlock>& blocks);

}  // namespace milane::host

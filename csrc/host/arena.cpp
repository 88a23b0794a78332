#include "host/arena.h"

#include <algorithm>
#include <numeric>

namespace milane::host {
namespace {

constexpr std::size_t kAlign = 64;

// Blocks chained in place live as one: from the first writer to the last reader.
void merge_in_place(std::vector<ArenaBlock>& blocks) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].same_as < 0) continue;
    auto root = static_cast<std::size_t>(blocks[i].same_as);
    while (blocks[root].same_as >= 0) root = static_cast<std::size_t>(blocks[root].same_as);
    blocks[i].same_as = static_cast<int>(root);
    blocks[root].first = std::min(blocks[root].first, blocks[i].first);
    blocks[root].last = std::max(blocks[root].last, blocks[i].last);
    blocks[root].bytes = std::max(blocks[root].bytes, blocks[i].bytes);
  }
}

}  // namespace

// Largest first, each at the lowest offset that is free during its life.
std::size_t place_blocks(std::vector<ArenaBlock>& blocks) {
  merge_in_place(blocks);
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  std::size_t total = 0;
  for (std::size_t i : order) {
    if (blocks[i].same_as >= 0) continue;
    const std::size_t size = (blocks[i].bytes + kAlign - 1) / kAlign * kAlign;
    std::size_t offset = 0;
    for (std::size_t j : placed) {
      const ArenaBlock& other = blocks[j];
      if (other.last < blocks[i].first || blocks[i].last < other.first) continue;
      if (other.offset >= offset + size) break;
      offset = std::max(offset, other.offset + (other.bytes + kAlign - 1) / kAlign * kAlign);
    }
    blocks[i].offset = offset;
    total = std::max(total, offset + size);
    const auto at =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [&](std::size_t o, std::size_t j) { return o < blocks[j].offset; });
    placed.insert(at, i);
  }
  for (auto& block : blocks) {
    if (block.same_as >= 0) block.offset = blocks[static_cast<std::size_t>(block.same_as)].offset;
  }
  return total;
}

}  // namespace milane::host

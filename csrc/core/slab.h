// Memory for many blocks that are kept for long and read one after the other.
#pragma once

#include <cstddef>
#include <memory>

#include "core/aligned.h"

namespace milane {

// Cuts blocks out of large ones, which get huge pages where a block alone would be too small for
// them. A large one lives as long as any of its parts. Not for several threads at once.
class Slab {
 public:
  // `bytes` of uninitialised memory at a 64-byte boundary.
  std::shared_ptr<std::byte> take(std::size_t bytes) {
    taken_ += bytes;
#if defined(__SANITIZE_ADDRESS__)  // apart, so that the end of each is guarded
    return aligned_bytes(bytes);
#endif
    // The first blocks stand alone: a program of few weights should not hold a whole huge page.
    if (taken_ < kApart || bytes > kBlock / 2) return aligned_bytes(bytes);
    const std::size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
    if (rounded > left_) {
      block_ = aligned_bytes(kBlock);
      left_ = kBlock;
    }
    std::byte* const at = block_.get() + (kBlock - left_);
    left_ -= rounded;
    return {block_, at};
  }

 private:
  static constexpr std::size_t kBlock = 8 * kHugePage, kApart = 2 * kHugePage;

  std::shared_ptr<std::byte> block_;
  std::size_t left_ = 0, taken_ = 0;
};

}  // namespace milane

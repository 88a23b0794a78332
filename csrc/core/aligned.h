// Owned memory aligned to a cache line.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace milane {

inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

// `bytes` of uninitialised memory at a 64-byte boundary; never null, also for 0 bytes. Large blocks
// are on huge pages where the system grants them.
inline std::shared_ptr<std::byte> aligned_bytes(std::size_t bytes,
                                                std::size_t alignment = kCacheLine) {
  if (bytes >= kHugePage) alignment = kHugePage;
  const std::size_t rounded = (bytes + alignment) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (bytes >= kHugePage) madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
#if defined(__SANITIZE_ADDRESS__)  // what rounding up adds is out of bounds, too
  __asan_poison_memory_region(static_cast<std::byte*>(p) + bytes, rounded - bytes);
#endif
  return {static_cast<std::byte*>(p), [](std::byte* q) { std::free(q); }};
}

}  // namespace milane

// Memory with a layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/layout.h"

namespace milane {

// How an IOSurface is declared (ane_facts C.1): one row of bytes, as most projects allocate, or
// rows of elements as wide as the tensor's. The bytes are the same. Host memory has one style.
enum class SurfaceStyle : std::uint8_t { kFlat, kShaped };

// Base address is page aligned and never changes.
class Surface {
 public:
  class Lock;

  virtual ~Surface() = default;
  virtual const TensorLayout& layout() const = 0;
  // Where the bytes are. The device's writes are sure to be seen between lock and unlock only.
  virtual std::byte* data() const = 0;
  virtual void lock(bool write) = 0;  // locks nest
  virtual void unlock(bool write) = 0;
  // IOSurfaceRef on the Mac, the base address elsewhere.
  virtual std::uintptr_t handle() const = 0;
};
using SurfacePtr = std::shared_ptr<Surface>;

class Surface::Lock {
 public:
  Lock(Surface& surface, bool write) : surface_(surface), write_(write) { surface_.lock(write_); }
  ~Lock() { surface_.unlock(write_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  std::byte* data() const { return surface_.data(); }

 private:
  Surface& surface_;
  bool write_;
};

}  // namespace milane

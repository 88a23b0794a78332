#include "apple/iosurface.h"

#include <cstring>

#include "apple/apple.h"
#include "apple/device_error.h"

namespace milane::apple {
namespace {

IOSurfaceRef create(const TensorLayout& layout, SurfaceStyle style) {
  const bool flat = style == SurfaceStyle::kFlat;
  const std::size_t bytes = layout.alloc_size();
  const std::size_t row = flat ? bytes : layout.row_stride();
  const std::size_t width = flat ? bytes : static_cast<std::size_t>(layout.width());
  NSDictionary* properties = @{
    (id)kIOSurfaceWidth : @(width),
    (id)kIOSurfaceHeight : @(bytes / row),
    (id)kIOSurfaceBytesPerElement : @(flat ? 1 : layout.elem_size()),
    (id)kIOSurfaceBytesPerRow : @(row),
    (id)kIOSurfaceAllocSize : @(bytes),
    (id)kIOSurfacePixelFormat : @0
  };
  return IOSurfaceCreate((__bridge CFDictionaryRef)properties);
}

}  // namespace

AneSurface::AneSurface(const TensorLayout& layout, SurfaceStyle style) : layout_(layout) {
  objc("surface", [&] { surface_ = Own<IOSurfaceRef>::adopt(create(layout, style)); });
  if (!surface_) {
    throw nil_error("surface", "an IOSurface of " + std::to_string(layout.alloc_size()) + " bytes");
  }
  const Lock lock(*this, true);
  base_ = static_cast<std::byte*>(IOSurfaceGetBaseAddress(surface_.get()));
  std::memset(base_, 0, layout.alloc_size());  // its content is undefined at first
}

void AneSurface::lock(bool write) {
  const int failed = IOSurfaceLock(surface_.get(), write ? 0u : kIOSurfaceLockReadOnly, nullptr);
  if (failed) {
    throw Error(
        ErrorCode::kMapFailed,
        "lock: expected an IOSurface that can be locked, got error " + std::to_string(failed))
        .from_device("IOSurface", failed)
        .during("surface");
  }
}

void AneSurface::unlock(bool write) {
  IOSurfaceUnlock(surface_.get(), write ? 0u : kIOSurfaceLockReadOnly, nullptr);
}

SurfacePtr make_iosurface(const TensorLayout& layout, SurfaceStyle style) {
  return std::make_shared<AneSurface>(layout, style);
}

}  // namespace milane::apple

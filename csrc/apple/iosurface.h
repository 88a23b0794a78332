// Surfaces that are IOSurfaces.
#pragma once

#import <Foundation/Foundation.h>
#import <IOSurface/IOSurface.h>

#include "apple/objc.h"
#include "backend/surface.h"

namespace milane::apple {

class AneSurface final : public Surface {
 public:
  // Throws kMapFailed when the system refuses.
  AneSurface(const TensorLayout& layout, SurfaceStyle style);

  const TensorLayout& layout() const override { return layout_; }
  std::byte* data() const override { return base_; }
  void lock(bool write) override;
  void unlock(bool write) override;
  std::uintptr_t handle() const override {
    return reinterpret_cast<std::uintptr_t>(surface_.get());
  }
  IOSurfaceRef get() const { return surface_.get(); }
  std::size_t allocated() const { return IOSurfaceGetAllocSize(surface_.get()); }

 private:
  TensorLayout layout_;
  Own<IOSurfaceRef> surface_;
  std::byte* base_ = nullptr;
};

}  // namespace milane::apple

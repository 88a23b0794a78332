// Metal, as far as surfaces and events go: buffers over surfaces without a copy, and shared events
// known to both processors. Handles are addresses of Metal objects, for callers of Metal itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "backend/event.h"
#include "backend/surface.h"

namespace milane::apple {

// Keeps its surface alive.
class MetalBuffer {
 public:
  virtual ~MetalBuffer() = default;
  virtual std::uintptr_t handle() const = 0;  // id<MTLBuffer>
  virtual std::size_t length() const = 0;
  virtual std::uintptr_t contents() const = 0;
};

class MetalSharedEvent {
 public:
  virtual ~MetalSharedEvent() = default;
  virtual std::uintptr_t handle() const = 0;  // id<MTLSharedEvent>
  virtual std::uint64_t value() const = 0;
  virtual void signal(std::uint64_t value) = 0;
};

class MetalDevice {
 public:
  virtual ~MetalDevice() = default;
  virtual std::string name() const = 0;
  virtual std::uintptr_t handle() const = 0;  // id<MTLDevice>
  // Throws kUnsupported for a surface that is no IOSurface, kMapFailed when Metal refuses.
  virtual std::unique_ptr<MetalBuffer> buffer(const SurfacePtr& surface) = 0;
  // The same event on both sides: `event` by its Mach port.
  virtual std::unique_ptr<MetalSharedEvent> shared_event(const SharedEventPtr& event) = 0;
};

// Throws kUnsupported where there is no Metal.
std::shared_ptr<MetalDevice> open_metal();

}  // namespace milane::apple

#include "apple/metal.h"

#import <Metal/Metal.h>

#include "apple/device_error.h"
#include "apple/iosurface.h"
#include "apple/objc.h"
#include "apple/private_api.h"

// Private on MTLDevice; what bridges an IOSurfaceSharedEvent (ane_facts A.8).
@protocol MTLSharedEventFromPort
- (id)newSharedEventWithMachPort:(unsigned int)port;
@end

namespace milane::apple {
namespace {

constexpr std::size_t kMetalPage = 16384;  // buffers without a copy cover whole pages

class Buffer final : public MetalBuffer {
 public:
  Buffer(SurfacePtr surface, Own<id<MTLBuffer>> buffer)
      : surface_(std::move(surface)), buffer_(std::move(buffer)) {}
  ~Buffer() override {
    try {
      objc("metal", [&] { buffer_.reset(); });
    } catch (const Error&) {  // nothing is left that could be done
    }
  }
  std::uintptr_t handle() const override { return reinterpret_cast<std::uintptr_t>(buffer_.get()); }
  std::size_t length() const override { return [buffer_.get() length]; }
  std::uintptr_t contents() const override {
    return reinterpret_cast<std::uintptr_t>([buffer_.get() contents]);
  }

 private:
  SurfacePtr surface_;
  Own<id<MTLBuffer>> buffer_;
};

class Event final : public MetalSharedEvent {
 public:
  explicit Event(Own<id<MTLSharedEvent>> event) : event_(std::move(event)) {}
  ~Event() override {
    try {
      objc("metal", [&] { event_.reset(); });
    } catch (const Error&) {  // nothing is left that could be done
    }
  }
  std::uintptr_t handle() const override { return reinterpret_cast<std::uintptr_t>(event_.get()); }
  std::uint64_t value() const override { return [event_.get() signaledValue]; }
  void signal(std::uint64_t value) override {
    objc("metal", [&] { [event_.get() setSignaledValue:value]; });
  }

 private:
  Own<id<MTLSharedEvent>> event_;
};

class Device final : public MetalDevice {
 public:
  explicit Device(Own<id<MTLDevice>> device) : device_(std::move(device)) {}
  ~Device() override {
    try {
      objc("metal", [&] { device_.reset(); });
    } catch (const Error&) {  // nothing is left that could be done
    }
  }
  std::string name() const override {
    return objc("metal", [&] { return text([device_.get() name]); });
  }
  std::uintptr_t handle() const override { return reinterpret_cast<std::uintptr_t>(device_.get()); }

  std::unique_ptr<MetalBuffer> buffer(const SurfacePtr& surface) override {
    const auto* shared = dynamic_cast<const AneSurface*>(surface.get());
    if (!shared) {
      throw Error(ErrorCode::kUnsupported,
                  "metal: expected an IOSurface for a buffer without a copy, got other memory",
                  "use a kernel of backend \"ane\", or a milane.Surface made on this Mac");
    }
    return objc("metal", [&]() -> std::unique_ptr<MetalBuffer> {
      const std::size_t bytes = (shared->allocated() + kMetalPage - 1) / kMetalPage * kMetalPage;
      id<MTLBuffer> made = [device_.get() newBufferWithBytesNoCopy:shared->data()
                                                            length:bytes
                                                           options:MTLResourceStorageModeShared
                                                       deallocator:nil];
      if (!made) {
        throw Error(ErrorCode::kMapFailed, "metal: expected a buffer over " +
                                               std::to_string(bytes) +
                                               " bytes of a surface, got nil");
      }
      return std::make_unique<Buffer>(surface, Own<id<MTLBuffer>>::adopt(made));
    });
  }

  std::unique_ptr<MetalSharedEvent> shared_event(const SharedEventPtr& event) override {
    return objc("metal", [&]() -> std::unique_ptr<MetalSharedEvent> {
      if (!answers(device_.get(), @selector(newSharedEventWithMachPort:))) {
        throw_missing("MTLDevice", "newSharedEventWithMachPort:");
      }
      id made =
          [(id<MTLSharedEventFromPort>)device_.get() newSharedEventWithMachPort:event->port()];
      if (!made) {
        throw Error(
            ErrorCode::kInvalidArgument,
            "metal: expected the port of a shared event, got " + std::to_string(event->port()));
      }
      return std::make_unique<Event>(Own<id<MTLSharedEvent>>::adopt(made));
    });
  }

 private:
  Own<id<MTLDevice>> device_;
};

}  // namespace

std::shared_ptr<MetalDevice> open_metal() {
  return objc("metal", [&]() -> std::shared_ptr<MetalDevice> {
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    if (!device) {
      throw Error(ErrorCode::kUnsupported, "open_metal: expected a Metal device, got none");
    }
    return std::make_shared<Device>(Own<id<MTLDevice>>::adopt(device));
  });
}

}  // namespace milane::apple

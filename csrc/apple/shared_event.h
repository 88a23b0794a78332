// Shared events that are IOSurfaceSharedEvents.
#pragma once

#import "apple/private_classes.h"

#include "apple/objc.h"
#include "backend/event.h"

namespace milane::apple {

class AneEvent final : public SharedEvent {
 public:
  explicit AneEvent(Own<id<IOSurfaceSharedEventClass>> event) : event_(std::move(event)) {}
  ~AneEvent() override;

  std::uint64_t value() const override;
  void signal(std::uint64_t value) override;
  bool wait(std::uint64_t value, std::int64_t timeout_ns) override;
  std::uint32_t port() const override;
  id get() const { return event_.get(); }

 private:
  Own<id<IOSurfaceSharedEventClass>> event_;
};

}  // namespace milane::apple

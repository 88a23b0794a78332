#include "apple/shared_event.h"

#include <algorithm>
#include <limits>

#include "apple/apple.h"
#include "apple/device_error.h"
#include "apple/private_api.h"

namespace milane::apple {
namespace {

// A wait is cut into pieces of this length, so that "for ever" needs no special value.
constexpr std::int64_t kSliceMs = 1000;

using Event = id<IOSurfaceSharedEventClass>;

// nil where the class, or one of the selectors used here, is missing.
Class event_class() {
  const Class cls = NSClassFromString(@"IOSurfaceSharedEvent");
  for (const SEL selector : {
         @selector(eventPort), @selector(signaledValue), @selector(setSignaledValue:),
             @selector(waitUntilSignaledValue:timeoutMS:)
       }) {
    if (!instances_answer("IOSurfaceSharedEvent", selector)) return nil;
  }
  return cls;
}

}  // namespace

AneEvent::~AneEvent() {
  try {
    objc("event", [&] { event_.reset(); });
  } catch (const Error&) {  // nothing is left that could be done
  }
}

std::uint64_t AneEvent::value() const {
  return objc("event", [&] { return std::uint64_t{[event_.get() signaledValue]}; });
}

void AneEvent::signal(std::uint64_t value) {
  objc("event", [&] { [event_.get() setSignaledValue:value]; });
}

std::uint32_t AneEvent::port() const {
  return objc("event", [&] { return std::uint32_t{[event_.get() eventPort]}; });
}

bool AneEvent::wait(std::uint64_t value, std::int64_t timeout_ns) {
  // Rounded up: a wait must not end before its time.
  std::int64_t left = timeout_ns < 0 ? std::numeric_limits<std::int64_t>::max()
                                     : timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 != 0);
  for (;;) {
    const std::int64_t slice = std::min(left, kSliceMs);
    const bool reached = objc("event", [&] {
      return static_cast<bool>([event_.get()
          waitUntilSignaledValue:value
                       timeoutMS:static_cast<unsigned long long>(slice)]);
    });
    if (reached) return true;
    if (timeout_ns >= 0) left -= slice;
    if (left <= 0) return false;
  }
}

SharedEventPtr make_iosurface_event() {
  return objc("event", [&]() -> SharedEventPtr {
    const Class cls = event_class();
    if (!cls) return nullptr;
    const Event event = [[cls alloc] init];
    if (!event) throw nil_error("event", "a shared event");
    return std::make_shared<AneEvent>(Own<Event>::adopt(event));
  });
}

SharedEventPtr iosurface_event_from_port(std::uint32_t port) {
  return objc("event", [&]() -> SharedEventPtr {
    const Class cls = event_class();
    if (!cls || !instances_answer("IOSurfaceSharedEvent", @selector(initWithMachPort:))) {
      return nullptr;
    }
    const Event event = [(Event)[cls alloc] initWithMachPort:port];
    if (!event) {
      throw Error(ErrorCode::kInvalidArgument,
                  "event: expected the port of a shared event, got " + std::to_string(port));
    }
    return std::make_shared<AneEvent>(Own<Event>::adopt(event));
  });
}

}  // namespace milane::apple

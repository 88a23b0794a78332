#include "backends.h"

#include "apple/apple.h"
#include "core/error.h"
#include "host/host.h"

namespace milane {

BackendPtr open_backend(const std::string& name, std::string* why) {
  if (name != "auto" && name != "ane" && name != "host") {
    throw Error(ErrorCode::kInvalidArgument,
                "backend: expected \"auto\", \"ane\" or \"host\", got \"" + name + "\"");
  }
  if (name == "host") {
    *why = "asked for";
    return host::make_host_backend();
  }
  if (BackendPtr ane = apple::make_ane_backend(why)) {
    *why = ane->status();
    return ane;
  }
  if (name == "ane") {
    throw Error(ErrorCode::kNoAne, "open: expected an Apple Neural Engine, got " + *why,
                "open(\"host\") runs the same programs on the CPU");
  }
  return host::make_host_backend();
}

DeviceInfo probe() {
  std::string why;
  if (BackendPtr ane = apple::make_ane_backend(&why)) return ane->info();
  return host::make_host_backend()->info();
}

SurfacePtr make_surface(const TensorLayout& layout) {
  if (SurfacePtr shared = apple::make_iosurface(layout, SurfaceStyle::kFlat)) return shared;
  return host::make_host_backend()->make_surface(layout);
}

SharedEventPtr make_event() {
  if (SharedEventPtr event = apple::make_iosurface_event()) return event;
  return host::make_host_backend()->make_event();
}

SharedEventPtr event_from_port(std::uint32_t port) {
  if (SharedEventPtr event = apple::iosurface_event_from_port(port)) return event;
  return host::make_host_backend()->event_from_port(port);
}

}  // namespace milane

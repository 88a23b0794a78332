// The backends of this build.
#pragma once

#include <string>

#include "backend/backend.h"

namespace milane {

// name: "auto" (ane where it answers, else host), "ane" or "host". `why` gets one line that says
// which one it is and why. Throws kNoAne for "ane" elsewhere, kInvalidArgument for another name.
BackendPtr open_backend(const std::string& name, std::string* why);

// What the engine's own probe says; has_ane is false where there is none. Never throws.
DeviceInfo probe();

// Memory and events that every backend of this machine takes: IOSurfaces and their shared events
// where the system has them, the host's own elsewhere.
SurfacePtr make_surface(const TensorLayout& layout);
SharedEventPtr make_event();
SharedEventPtr event_from_port(std::uint32_t port);

}  // namespace milane

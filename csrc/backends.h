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

}  // namespace milane

// Shared events inside one process.
#pragma once

#include "backend/event.h"

namespace milane::host {

SharedEventPtr make_host_event();
// Throws kInvalidArgument when no living event of this process has this port.
SharedEventPtr host_event_from_port(std::uint32_t port);

}  // namespace milane::host

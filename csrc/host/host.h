// The host backend's factory.
#pragma once

#include "backend/backend.h"

namespace milane::host {

BackendPtr make_host_backend();

}  // namespace milane::host

// The Apple Neural Engine backend's factory: plain C++, whatever is behind it.
#pragma once

#include "backend/backend.h"

namespace milane::apple {

// nullptr where the engine cannot be used; `why` then says why, in one line.
BackendPtr make_ane_backend(std::string* why);

}  // namespace milane::apple

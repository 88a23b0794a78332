// Stands in for the Objective-C++ backend, which is not part of this build.
#include "apple/apple.h"

namespace milane::apple {

BackendPtr make_ane_backend(std::string* why) {
#if defined(__APPLE__)
  *why = "this build has no Apple Neural Engine backend yet";
#else
  *why = "no Apple Neural Engine on this machine: it needs a Mac with Apple silicon";
#endif
  return nullptr;
}

}  // namespace milane::apple

// The Apple Neural Engine backend, as the rest of the library sees it: plain C++, whatever is
// behind it.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"

namespace milane::apple {

// nullptr where the engine cannot be used; `why` then says why, in one line.
BackendPtr make_ane_backend(std::string* why);

// A row of private_api.def against this system.
struct ApiRow {
  std::string cls, selector;    // selector with its sign: "+hasANE"; empty for the class itself
  std::string encoding, found;  // expected and present types; `found` is empty where it is missing
  bool required = false, present = false, matches = false;
  std::string seen, users, absent;
};

struct FrameworkReport {
  std::string path;   // of the framework
  std::string error;  // why it could not be opened; empty when it could
  std::vector<ApiRow> rows;
};
FrameworkReport inspect_framework();

// What an entry into Objective-C costs, in nanoseconds: a pool, a guard against exceptions, and
// both, as every call of the backend has them. Throws kUnsupported where there is no Objective-C.
struct EntryCost {
  double pool_ns = 0, guard_ns = 0, entry_ns = 0;
};
EntryCost measure_entry(int calls);

// An IOSurface; nullptr where the system has none.
SurfacePtr make_iosurface(const TensorLayout& layout, SurfaceStyle style);

// nullptr where the system has none, for both.
SharedEventPtr make_iosurface_event();
SharedEventPtr iosurface_event_from_port(std::uint32_t port);

}  // namespace milane::apple

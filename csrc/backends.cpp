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

}  // namespace milane

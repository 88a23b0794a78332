// What the device's errors mean.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

namespace milane::apple {

// An NSError, as far as it concerns us.
struct DeviceFailure {
  std::string domain;
  std::int64_t code = 0;
  std::string text;
};

// The error of a stage ("descriptor", "compile", "load", "attributes", "surface", "request", "map",
// "eval", "unload"): its class, and a hint, by ane_facts E. Domain, code and text are kept.
Error device_error(const std::string& stage, const DeviceFailure& failure);
// The same where the framework gave nil instead of `what`, and no NSError.
Error nil_error(const std::string& stage, const std::string& what);

}  // namespace milane::apple

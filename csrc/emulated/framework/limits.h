// The device's hard rules about a program.
#pragma once

#include <optional>
#include <string>

#include "emulated/framework/engine.h"
#include "mil/program.h"

namespace milane::emulated {

struct Refusal {
  MilaneFailure failure;
  std::string reason;
};

// The first rule that the program breaks.
std::optional<Refusal> refusal(const mil::Program& program);

}  // namespace milane::emulated

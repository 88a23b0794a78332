// What every backend does before it compiles.
#pragma once

#include "backend/backend.h"

namespace milane {

// The function named, else "main", else the only one. Throws kInvalidArgument, with their names.
const mil::Function& pick_function(const mil::Program& program, const std::string& wanted);

}  // namespace milane

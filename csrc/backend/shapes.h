// Concrete shapes for a function's flexible inputs.
#pragma once

#include <map>
#include <string>

#include "core/shape.h"
#include "mil/program.h"

namespace milane {

// A shape for every input: the one `requested`, else the default that the function's
// FlexibleShapeInformation gives, else the declared one. Throws kInvalidArgument when a requested
// name is no input, a shape does not fit the declaration, the range or the enumerated shapes, or an
// input stays unknown.
std::map<std::string, Dims> concrete_shapes(const mil::Function& function,
                                            const std::map<std::string, Dims>& requested);

}  // namespace milane

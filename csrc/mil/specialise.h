// A program with flexible inputs, for one choice of their shapes.
#pragma once

#include <map>
#include <string>

#include "core/shape.h"
#include "mil/program.h"

namespace milane::mil {

// A program of this one function, in which every type is static: inputs and states have the given
// shapes (one for each), results what inference finds from there. Results that the shapes alone
// decide become constants, so that the arithmetic on them can go; operations that nothing needs
// are left out, and so is FlexibleShapeInformation. Names stay, other functions do not: what shapes
// they would have, nobody said.
// Throws Error(kVerify) where an operation does not take the shapes, Error(kCompile) where a shape
// depends on run-time values, Error(kUnsupportedOp) at nested blocks and lists: all with line and
// column.
ProgramPtr specialise(const Program& program, const Function& function,
                      const std::map<std::string, Dims>& shapes);

// Whether every input and every result of the function has a static type.
bool has_static_types(const Function& function);

}  // namespace milane::mil

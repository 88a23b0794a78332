// Well-formedness of a whole program.
#pragma once

#include "mil/program.h"

namespace milane::mil {

// Throws Error(kVerify) at the first fault: duplicate or undefined names, unknown operations or
// arguments, types that differ from what inference finds, outputs that do not exist, states used
// as tensors, dimensions that are zero or negative. See docs/mil-grammar.md for the whole list.
void verify(const Program& program);

}  // namespace milane::mil

// From a program as people write it to the form that the device's compiler takes.
#pragma once

#include <map>
#include <string>

#include "core/shape.h"
#include "mil/program.h"

namespace milane {

// The same program with
//   static shapes      when the function (empty: "main", or the only one) has flexible ones: then
//   it
//                      alone is kept, for these input shapes; functions beside it that are flexible
//                      go in any case
//   buildInfo          when it has none
//   named constants    for every operand written in place, directly before the operation; those of
//                      constexpr_* stay, for Apple's own compiler writes them in place
// Names, attributes and everything else stay. `*changed` says whether anything was done: where not,
// the text that the program was parsed from can be handed over as it is.
// What it computes is the same to the bit. Whether the device has the operations and sizes is
// another question: broken_limits().
// Throws what concrete_shapes() and mil::specialise() throw, and kInvalidArgument for an unknown
// function.
mil::ProgramPtr device_program(const mil::Program& program, const std::string& function,
                               const std::map<std::string, Dims>& shapes, bool* changed = nullptr);

}  // namespace milane

// Program to canonical MIL text: the form coremlc writes.
#pragma once

#include <string>

#include "mil/program.h"

namespace milane::mil {

std::string print(const Program& program);
std::string print(const Value& value, bool canonical_scalars);
std::string print(const Operation& operation, bool canonical_scalars);

}  // namespace milane::mil

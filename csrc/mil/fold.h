// Integers that are known before a program runs: what arithmetic on shapes comes to.
#pragma once

#include <optional>

#include "mil/infer.h"

namespace milane::mil {

// The operation's result, which has this static type: when it is small, of integers or bools, and
// all that it depends on is known. Empty otherwise, and for the operations that no exporter
// computes shapes with.
std::optional<Value> fold(const OpArgs& args, const Type& type);

}  // namespace milane::mil

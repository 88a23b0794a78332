// From an operation's name to what runs it; expanded from ops.def.
#pragma once

#include <string_view>

#include "host/chain.h"
#include "host/op.h"

namespace milane::host {

struct HostOp {
  OpFn function = nullptr;  // host column "function"
  LowerFn lower = nullptr;  // "elementwise"
};

// nullptr for operations the host engine has no function for.
const HostOp* find_host_op(std::string_view name);

}  // namespace milane::host

// numerics="ane": the published quirks of the device, applied to results after they are computed.
#pragma once

#include <string_view>

#include "backend/ane_rules.h"
#include "host/op.h"

namespace milane::host {

struct Node;

// Wraps the node's run so that its fp16 results follow the quirks that concern this operation.
// A node that could join a chain becomes a step of its own.
void apply_quirks(const OpSite& site, std::string_view op, const QuirkSet& quirks, Node& node);

// to = from with NaN replaced by +infinity (Quirk::kNanInput).
RunFn replace_input_nan(const Operand& from, const Operand& to);

// to = from, byte for byte.
RunFn copy_bytes(const Operand& from, const Operand& to);

}  // namespace milane::host

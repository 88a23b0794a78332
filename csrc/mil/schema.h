// What ops.def says about each operation, parsed once.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "mil/program.h"

namespace milane::mil {

class OpArgs;
using InferFn = std::vector<Type> (*)(const OpArgs&);

// One argument of a signature.
struct ArgSchema {
  std::string name;
  bool constant = false;  // must be known when the program is compiled
  bool optional = false;  // may be left out
  bool variadic = false;  // a tuple of values
  bool is_state = false;
  bool any_kind = false;  // every type at all; otherwise the operand must be of this kind
  Type::Kind kind = Type::Kind::kTensor;
  std::vector<DType> dtypes;      // allowed element types
  char domain = 0;                // letter shared by arguments whose dtypes must agree; 0: free
  std::optional<Value> fallback;  // the default, where it is one value
  std::string since;              // opset that brought it, when later than the operation's
};

enum class HostSupport : std::uint8_t {
  kFunction,     // `op_<name>` in csrc/host/ops
  kElementwise,  // `chain_<name>` in csrc/host/ops: may join a chain
  kView,         // same bytes, other shape: no work
  kPlan,         // the plan itself handles it
  kNone,         // known to the language, refused by the host engine at compile
};

struct OpSchema {
  std::string_view name;
  std::string_view since;  // "ios15"
  std::vector<ArgSchema> args;
  InferFn infer = nullptr;
  HostSupport host = HostSupport::kNone;
  bool open = false;  // arguments beyond these are accepted

  const ArgSchema* arg(std::string_view name) const;
};

// All operations, in ops.def order; nullptr for an unknown name.
std::span<const OpSchema> all_ops();
const OpSchema* find_op(std::string_view name);
// The known name nearest to a misspelt one, or empty.
std::string_view nearest_op(std::string_view name);
// The nearest of `known` within a slip or two, or empty: for hints.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

}  // namespace milane::mil

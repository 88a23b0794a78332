#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "host/graph.h"

namespace milane::host {

std::vector<bool> live_operations(const mil::Function& function) {
  const auto& ops = function.body.operations;
  std::unordered_set<std::string_view> wanted(ops.size());
  for (const auto& out : function.body.outputs) wanted.insert(out.name);
  std::vector<bool> live(ops.size(), false);
  for (std::size_t i = ops.size(); i-- > 0;) {
    const mil::Operation& op = *ops[i];
    const bool writes = op.type == "write_state" || op.type == "coreml_update_state";
    const bool used = std::any_of(op.outputs.begin(), op.outputs.end(),
                                  [&](const auto& o) { return wanted.contains(o.name); });
    if (!writes && !used) continue;
    live[i] = true;
    for (const auto& argument : op.arguments) {
      for (const auto& operand : argument.operands) wanted.insert(operand.name);
    }
  }
  return live;
}

}  // namespace milane::host

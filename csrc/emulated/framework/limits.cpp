#include "emulated/framework/limits.h"

#include "backend/ane_limits.h"
#include "core/dtype.h"
#include "emulated/framework/tensors.h"

namespace milane::emulated {
namespace {

const mil::Type* type_of(const mil::Function& function, const std::string& name) {
  for (const auto& op : function.body.operations) {
    for (const auto& output : op->outputs) {
      if (output.name == name) return &output.type;
    }
  }
  for (const auto& input : function.body.inputs) {
    if (input.name == name) return &input.type;
  }
  return nullptr;
}

// Why a type cannot be an input or output; empty where it can (ane_facts C.7).
std::string boundary_fault(const mil::Type& type) {
  if (!type.is_tensor()) return "no tensor";
  if (type_code(type.dtype) == nullptr) return "of type " + std::string(dtype_name(type.dtype));
  return "";
}

}  // namespace

std::optional<Refusal> refusal(const mil::Program& program) {
  for (const LimitFinding& finding : broken_limits(program)) {
    return Refusal{finding.rule->malformed ? kInvalidMil : kCompilation, finding.message};
  }
  for (const auto& function : program.functions) {
    const auto check = [&](const std::string& name, const mil::Type* type) {
      const std::string fault = type == nullptr ? "" : boundary_fault(*type);
      if (fault.empty()) return std::optional<Refusal>();
      return std::optional<Refusal>({kCompilation, function->name + ": " + name + " is " + fault});
    };
    for (const auto& input : function->body.inputs) {
      if (auto found = check(input.name, &input.type)) return found;
    }
    for (const auto& output : function->body.outputs) {
      if (auto found = check(output.name, type_of(*function, output.name))) return found;
    }
  }
  return std::nullopt;
}

}  // namespace milane::emulated

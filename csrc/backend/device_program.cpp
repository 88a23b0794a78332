#include "backend/device_program.h"

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "backend/compiling.h"
#include "backend/shapes.h"
#include "mil/specialise.h"

namespace milane {
namespace {

using mil::Operand;
using mil::Operation;
using mil::OperationPtr;
using mil::Type;
using mil::Value;

// What every program written for the device carries: one run of Apple's compiler, copied from
// project to project (ane_facts D 1).
constexpr std::array<std::pair<const char*, const char*>, 4> kBuildInfo{{
    {"coremlc-component-MIL", "3510.2.1"},
    {"coremlc-version", "3505.4.1"},
    {"coremltools-component-milinternal", ""},
    {"coremltools-version", "9.0"},
}};

bool add_build_info(mil::Program& program) {
  const auto& all = program.attributes;
  if (std::any_of(all.begin(), all.end(), [](const auto& a) { return a.name == "buildInfo"; })) {
    return false;
  }
  const Type string = Type::tensor(DType::kString);
  Value info;
  info.type.kind = Type::Kind::kDict;
  info.type.params = {string, string};
  for (const auto& [key, text] : kBuildInfo) {
    info.members.push_back(Value::string(key));
    info.members.push_back(Value::string(text));
  }
  program.attributes.push_back({"buildInfo", std::move(info)});
  return true;
}

// Gives every operand that is written in place a constant of its own.
class Namer {
 public:
  bool run(mil::Function& function) {
    take_names(function.body);
    name_operands(function.body);
    return changed_;
  }

 private:
  void take_names(const mil::Block& block) {
    for (const auto& input : block.inputs) taken_.insert(input.name);
    for (const auto& op : block.operations) {
      for (const auto& output : op->outputs) taken_.insert(output.name);
      for (const auto& nested : op->blocks) take_names(*nested);
    }
  }

  void name_operands(mil::Block& block) {
    std::vector<OperationPtr> operations;
    operations.reserve(block.operations.size());
    for (const auto& op : block.operations) {
      for (const auto& nested : op->blocks) name_operands(*nested);
      if (op->type == "const") {
        value_to_attribute(*op);
      } else if (!op->type.starts_with("constexpr_")) {
        name_operands(*op, operations);
      }
      operations.push_back(op);
    }
    block.operations = std::move(operations);
  }

  void name_operands(Operation& op, std::vector<OperationPtr>& before) {
    for (auto& argument : op.arguments) {
      for (std::size_t i = 0; i < argument.operands.size(); ++i) {
        Operand& operand = argument.operands[i];
        if (operand.is_name()) continue;
        std::string name = (op.outputs.empty() ? op.type : op.outputs.front().name) + "_";
        name += argument.name;
        if (argument.operands.size() > 1) name += "_" + std::to_string(i);
        before.push_back(constant(fresh(name), operand));
        operand.name = before.back()->outputs.front().name;
        operand.value = nullptr;
        changed_ = true;
      }
    }
  }

  static OperationPtr constant(const std::string& name, const Operand& operand) {
    auto op = std::make_shared<Operation>();
    op->type = "const";
    op->outputs.push_back({name, operand.value->type, operand.location});
    op->attributes.push_back({"name", Value::string(name)});
    op->attributes.push_back({"val", std::move(*operand.value)});
    op->location = operand.location;
    return op;
  }

  // `const(val = int32(1))` verifies here; everybody else writes the value in the brackets.
  void value_to_attribute(Operation& op) {
    const auto written = std::find_if(op.arguments.begin(), op.arguments.end(),
                                      [](const auto& a) { return a.name == "val"; });
    if (written == op.arguments.end() || written->operands.size() != 1) return;
    if (written->operands.front().is_name()) return;
    op.attributes.push_back({"val", std::move(*written->operands.front().value)});
    op.arguments.erase(written);
    changed_ = true;
  }

  std::string fresh(const std::string& wanted) {
    std::string name = wanted;
    for (int i = 2; !taken_.insert(name).second; ++i) name = wanted + "_" + std::to_string(i);
    return name;
  }

  std::unordered_set<std::string> taken_;
  bool changed_ = false;
};

}  // namespace

mil::ProgramPtr device_program(const mil::Program& program, const std::string& function,
                               const std::map<std::string, Dims>& shapes, bool* changed) {
  const mil::Function& wanted = pick_function(program, function);
  const auto concrete = concrete_shapes(wanted, shapes);
  bool edited = !mil::has_static_types(wanted);
  mil::ProgramPtr result;
  if (edited) {
    result = mil::specialise(program, wanted, concrete);
  } else {
    result = program.clone();
    edited = std::erase_if(result->functions,
                           [](const auto& f) { return !mil::has_static_types(*f); }) > 0;
  }
  edited |= add_build_info(*result);
  for (const auto& f : result->functions) edited |= Namer().run(*f);
  if (changed != nullptr) *changed = edited;
  return result;
}

}  // namespace milane

#include "mil/specialise.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/error.h"
#include "mil/diagnostic.h"
#include "mil/fold.h"
#include "mil/infer.h"

namespace milane::mil {
namespace {

constexpr std::string_view kFlexibility = "FlexibleShapeInformation";

bool is_static_type(const Type& type) {
  return milane::is_static(type.dims) &&
         std::all_of(type.params.begin(), type.params.end(), is_static_type);
}

bool is_static_block(const Block& block) {
  const auto static_names = [](const std::vector<NamedType>& names) {
    return std::all_of(names.begin(), names.end(),
                       [](const NamedType& n) { return is_static_type(n.type); });
  };
  return static_names(block.inputs) &&
         std::all_of(block.operations.begin(), block.operations.end(), [&](const auto& op) {
           return static_names(op->outputs) &&
                  std::all_of(op->blocks.begin(), op->blocks.end(),
                              [](const auto& nested) { return is_static_block(*nested); });
         });
}

// The operations whose results reach an output or a state, in order.
std::vector<OperationPtr> needed(const std::vector<OperationPtr>& operations,
                                 const std::vector<Operand>& outputs) {
  std::unordered_set<std::string_view> wanted;
  for (const auto& output : outputs) wanted.insert(output.name);
  std::vector<OperationPtr> kept;
  for (auto it = operations.rbegin(); it != operations.rend(); ++it) {
    const Operation& op = **it;
    const bool writes = op.type == "write_state" || op.type == "coreml_update_state";
    const bool used = std::any_of(op.outputs.begin(), op.outputs.end(),
                                  [&](const auto& o) { return wanted.contains(o.name); });
    if (!writes && !used && op.blocks.empty()) continue;
    kept.push_back(*it);
    for (const auto& argument : op.arguments) {
      for (const auto& operand : argument.operands) wanted.insert(operand.name);
    }
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

class Specialiser {
 public:
  Specialiser(const Program& program, const std::map<std::string, Dims>& shapes)
      : program_(program),
        shapes_(shapes),
        lookup_([this](const Operand& operand) { return info(operand); }) {}

  FunctionPtr run(const Function& function) {
    auto result = std::make_shared<Function>(function);
    std::erase_if(result->attributes, [](const Attribute& a) { return a.name == kFlexibility; });
    for (auto& input : result->body.inputs) bind(input);
    auto& operations = result->body.operations;
    operations = needed(operations, result->body.outputs);
    for (auto& op : operations) op = settled(*op);
    operations = needed(operations, result->body.outputs);
    return result;
  }

 private:
  // What a name stands for: its type, and its value when that is known.
  struct Known {
    Type type;
    ConstView view;
    bool has_view = false;
    bool constant = false;
  };

  void bind(NamedType& input) {
    Type& type = input.type.is_state() ? input.type.params.front() : input.type;
    const auto shape = shapes_.find(input.name);
    if (!type.is_tensor() || shape == shapes_.end()) {
      throw make_error(ErrorCode::kInvalidArgument, program_, input.location,
                       "input " + input.name + ": expected " +
                           (type.is_tensor() ? "a shape, got none"
                                             : "a tensor or a state, got " + to_string(type)));
    }
    type.dims = shape->second;
    names_[input.name] = {input.type, {}, false, false};
  }

  // The operation with static types; a constant where its result is known.
  OperationPtr settled(const Operation& op) {
    if (!op.blocks.empty()) {
      fail(ErrorCode::kUnsupportedOp, op, "expected no nested blocks, got some",
           "control flow has no place in a static graph");
    }
    const OpArgs args = resolve(program_, op, lookup_);
    auto types = infer(args);
    if (types.size() != op.outputs.size()) {
      fail(ErrorCode::kVerify, op,
           "expected " + std::to_string(types.size()) + " results, got " +
               std::to_string(op.outputs.size()));
    }
    auto result = std::make_shared<Operation>(op.clone());
    for (std::size_t i = 0; i < types.size(); ++i) {
      result->outputs[i].type = settled_type(op, op.outputs[i], std::move(types[i]));
    }
    define(args, *result);
    return result;
  }

  Type settled_type(const Operation& op, const NamedType& declared, Type inferred) {
    if (!compatible(declared.type, inferred)) {
      throw make_error(ErrorCode::kVerify, program_, declared.location,
                       op.type + ": expected `" + declared.name + "` to be " + to_string(inferred) +
                           ", got " + to_string(declared.type));
    }
    for (std::size_t d = 0; d < inferred.dims.size(); ++d) {
      if (inferred.dims[d] < 0) inferred.dims[d] = declared.type.dims[d];
    }
    if (is_static_type(inferred)) return inferred;
    if (!inferred.is_tensor()) {
      throw make_error(ErrorCode::kUnsupportedOp, program_, declared.location,
                       op.type + ": expected tensors, got " + to_string(inferred) + " for `" +
                           declared.name + "`",
                       "lists have no place in a static graph");
    }
    throw make_error(ErrorCode::kCompile, program_, declared.location,
                     op.type + ": expected a shape that follows from the input shapes, got " +
                         to_string(inferred) + " for `" + declared.name + "`",
                     "shapes may depend on shapes and on constants of the text, not on values");
  }

  // Names the results; one that is known turns its operation into a constant.
  void define(const OpArgs& args, Operation& op) {
    const bool constant = op.type == "const" || op.type.starts_with("constexpr_");
    for (const auto& output : op.outputs) {
      names_[output.name] = {output.type, {}, false, constant};
    }
    if (op.outputs.size() != 1) return;
    Known& known = names_[op.outputs.front().name];
    if (op.type == "const") {
      if (const ConstView* view = args.value("val")) see(known, *view);
    } else if (auto value = fold(args, op.outputs.front().type)) {
      values_.push_back(std::move(*value));
      see(known, const_view(values_.back()));
      become_constant(op, values_.back());
    }
  }

  static void see(Known& known, const ConstView& view) {
    known.view = view;
    known.has_view = known.constant = true;
  }

  static void become_constant(Operation& op, const Value& value) {
    op.type = "const";
    op.opset.clear();
    op.arguments.clear();
    std::erase_if(op.attributes, [](const Attribute& a) { return a.name != "name"; });
    if (op.attributes.empty()) {
      op.attributes.push_back({"name", Value::string(op.outputs.front().name)});
    }
    op.attributes.push_back({"val", value});
  }

  ArgInfo info(const Operand& operand) const {
    const auto found = names_.find(operand.name);
    if (found == names_.end()) {
      throw make_error(ErrorCode::kVerify, program_, operand.location,
                       "expected a name defined before, got `" + operand.name + "`");
    }
    const Known& known = found->second;
    return {known.type, known.has_view ? &known.view : nullptr, operand.location, known.constant};
  }

  [[noreturn]] void fail(ErrorCode code, const Operation& op, const std::string& message,
                         const std::string& hint = {}) const {
    throw make_error(code, program_, op.location, op.type + ": " + message, hint);
  }

  const Program& program_;
  const std::map<std::string, Dims>& shapes_;
  const std::function<ArgInfo(const Operand&)> lookup_;
  std::unordered_map<std::string, Known> names_;
  std::deque<Value> values_;  // of folded results: addresses stay valid
};

}  // namespace

ProgramPtr specialise(const Program& program, const Function& function,
                      const std::map<std::string, Dims>& shapes) {
  auto result = std::make_shared<Program>();
  result->version = program.version;
  result->attributes = program.attributes;
  result->source_name = program.source_name;
  result->source = program.source;
  try {
    result->functions.push_back(Specialiser(program, shapes).run(function));
  } catch (Error& error) {
    error.during("compile");
    throw;
  }
  return result;
}

bool has_static_types(const Function& function) {
  return function.attribute(kFlexibility) == nullptr && is_static_block(function.body);
}

}  // namespace milane::mil

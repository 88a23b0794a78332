#include "mil/builder.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "mil/diagnostic.h"
#include "mil/rules.h"

namespace milane::mil {
namespace {

std::string quoted(std::string_view name) { return "`" + std::string(name) + "`"; }

void rename_in(Block& block, const std::string& old_name, const std::string& new_name) {
  const auto rename = [&](std::string& name) {
    if (name == old_name) name = new_name;
  };
  for (auto& input : block.inputs) rename(input.name);
  for (auto& op : block.operations) {
    for (auto& output : op->outputs) {
      if (output.name != old_name) continue;
      output.name = new_name;
      for (auto& attribute : op->attributes) {
        if (attribute.name == "name") attribute.value = Value::string(new_name);
      }
    }
    for (auto& argument : op->arguments) {
      for (auto& operand : argument.operands) rename(operand.name);
    }
    for (auto& nested : op->blocks) rename_in(*nested, old_name, new_name);
  }
  for (auto& output : block.outputs) rename(output.name);
}

}  // namespace

Builder::Builder(ProgramPtr program, FunctionPtr function)
    : program_(std::move(program)),
      function_(std::move(function)),
      lookup_([this](const Operand& operand) { return info(operand); }) {}

void Builder::input(const NamedType& parameter) {
  check_new(parameter.name);
  function_->body.inputs.push_back(parameter);
  define(parameter.name, {parameter.type, nullptr, {}, false, false});
}

std::vector<NamedType> Builder::add(const OperationPtr& operation, const std::string& name) {
  auto results = results_of(*operation, name);
  for (const auto& result : results) {
    check_new(result.name);
    for (const auto size : result.type.unwrapped().dims) {
      if (size > 0 || size == kUnknownDim) continue;
      fail(operation->type + ": expected sizes of 1 or more, got a result of " +
           to_string(result.type));
    }
  }
  operation->outputs = results;
  const auto has_name = [](const Attribute& a) { return a.name == "name"; };
  if (std::none_of(operation->attributes.begin(), operation->attributes.end(), has_name)) {
    operation->attributes.insert(operation->attributes.begin(), {"name", Value::string(name)});
  }
  block().operations.push_back(operation);
  const bool constant = operation->type.starts_with("constexpr_");
  for (const auto& result : results) {
    define(result.name, {result.type, nullptr, {}, false, constant});
  }
  return results;
}

NamedType Builder::constant(const std::string& name, Value value) {
  check_new(name);
  auto operation = std::make_shared<Operation>();
  operation->type = "const";
  operation->outputs = {{name, value.type, {}}};
  operation->attributes = {{"name", Value::string(name)}, {"val", std::move(value)}};
  block().operations.push_back(operation);
  Definition definition{operation->outputs.front().type, nullptr, {}, false, true};
  const auto& held = operation->attributes.back().value;
  if (held.type.is_tensor() && !held.is_blob() && is_static(held.type.dims)) {
    // A copy of its own: the operation may be edited, or leave the function.
    auto kept = std::make_shared<const Value>(held);
    definition.view = const_view(*kept);
    definition.has_view = true;
    definition.owner = std::move(kept);
  }
  define(name, std::move(definition));
  return operation->outputs.front();
}

void Builder::begin_block(std::vector<NamedType> inputs) {
  for (const auto& input : inputs) check_new(input.name);
  open_.push_back({std::make_shared<Block>(), {}});
  for (const auto& input : inputs) define(input.name, {input.type, nullptr, {}, false, false});
  open_.back().block->inputs = std::move(inputs);
}

std::shared_ptr<Block> Builder::end_block(const std::vector<std::string>& outputs) {
  if (open_.empty()) fail("end_block: expected an open block, got none");
  for (const auto& name : outputs) {
    if (!scope_.contains(name)) fail("end_block: expected a name defined before, got " + name);
  }
  auto closed = std::move(open_.back());
  open_.pop_back();
  for (const auto& name : closed.defined) scope_.erase(name);
  for (const auto& name : outputs) closed.block->outputs.push_back({name, nullptr, {}});
  return closed.block;
}

void Builder::rename(const std::string& old_name, const std::string& new_name) {
  if (old_name == new_name) return;
  const auto found = scope_.find(old_name);
  if (found == scope_.end()) fail("rename: expected a value's name, got " + quoted(old_name));
  check_new(new_name);
  rename_in(function_->body, old_name, new_name);
  for (auto& open : open_) {
    rename_in(*open.block, old_name, new_name);
    std::replace(open.defined.begin(), open.defined.end(), old_name, new_name);
  }
  auto node = scope_.extract(found);
  node.key() = new_name;
  scope_.insert(std::move(node));
}

std::vector<NamedType> Builder::results_of(const Operation& operation,
                                           const std::string& name) const {
  const auto types = operation.blocks.empty() ? infer(resolve(*program_, operation, lookup_))
                                              : carried_types(operation);
  std::vector<NamedType> results;
  for (std::size_t i = 0; i < types.size(); ++i) {
    results.push_back({types.size() == 1 ? name : name + "_" + std::to_string(i), types[i], {}});
  }
  return results;
}

// cond gives what its blocks give, while_loop what it carries.
std::vector<Type> Builder::carried_types(const Operation& operation) const {
  const auto args = resolve(*program_, operation, lookup_);
  std::vector<Type> types;
  if (operation.type == "while_loop") {
    for (const auto& variable : args.list("loop_vars")) types.push_back(variable.type);
    return types;
  }
  for (const auto& output : operation.blocks.front()->outputs) {
    const auto* type = [&]() -> const Type* {
      for (const auto& op : operation.blocks.front()->operations) {
        for (const auto& result : op->outputs) {
          if (result.name == output.name) return &result.type;
        }
      }
      const auto outer = scope_.find(output.name);
      return outer == scope_.end() ? nullptr : &outer->second.type;
    }();
    if (!type) fail(operation.type + ": expected a result of its block, got " + output.name);
    types.push_back(*type);
  }
  return types;
}

void Builder::define(const std::string& name, Definition definition) {
  scope_.emplace(name, std::move(definition));
  if (!open_.empty()) open_.back().defined.push_back(name);
}

void Builder::check_new(const std::string& name) const {
  if (!is_identifier(name)) {
    fail("expected a name, got " + quoted(name),
         "a name is a letter or _, then letters, digits, _ and @");
  }
  if (scope_.contains(name)) {
    fail("expected a new name, got " + quoted(name) + " a second time",
         "every value is defined once");
  }
}

ArgInfo Builder::info(const Operand& operand) const {
  const auto found = scope_.find(operand.name);
  if (found == scope_.end()) fail("expected a name defined before, got " + quoted(operand.name));
  const auto& d = found->second;
  return {d.type, d.has_view ? &d.view : nullptr, operand.location, d.constant};
}

void Builder::fail(const std::string& message, const std::string& hint) const {
  throw make_error(ErrorCode::kVerify, *program_, {}, message, hint);
}

}  // namespace milane::mil

#include "mil/verify.h"

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "mil/diagnostic.h"
#include "mil/infer.h"
#include "mil/rules.h"

namespace milane::mil {
namespace {

std::string quoted(std::string_view name) { return "`" + std::string(name) + "`"; }

// What a name stands for while it is in scope.
struct Definition {
  const Type* type = nullptr;       // the program's own, or one of Verifier::merged_
  const ConstView* view = nullptr;  // of a constant written in the text
  bool constant = false;            // const, or a compressed constant
};

// The declared type, with what inference knows filled in where it says `?`.
Type merged(const Type& declared, const Type& inferred) {
  Type type = declared;
  type.dims = merge_dims(declared.dims, inferred.dims);
  for (std::size_t i = 0; i < type.params.size(); ++i) {
    type.params[i] = merged(declared.params[i], inferred.params[i]);
  }
  return type;
}

class Verifier {
 public:
  explicit Verifier(const Program& program)
      : program_(program), lookup_([this](const Operand& operand) { return info(operand); }) {}

  void run() {
    if (program_.functions.empty()) {
      const auto start = program_.source.empty() ? Location{} : Location{1, 1};
      fail(start, "expected at least one function, got none");
    }
    std::unordered_set<std::string_view> names;
    for (const auto& function : program_.functions) {
      if (!names.insert(function->name).second) {
        fail(function->location,
             "expected function names that differ, got " + quoted(function->name) + " twice");
      }
      check_function(*function);
    }
  }

 private:
  void check_function(const Function& function) {
    scope_.clear();
    scope_.reserve(function.body.operations.size() + function.body.inputs.size());
    defined_.clear();
    for (const auto& input : function.body.inputs) {
      check_dims(input, "input ");
      define(input, {&input.type, nullptr, false});
    }
    check_operations(function.body);
    for (const auto& output : function.body.outputs) {
      if (definition(output).type->is_state()) {
        fail(output.location, "expected a tensor as output, got the state " + quoted(output.name),
             "a state keeps its value between evaluations without being an output");
      }
    }
  }

  void check_operations(const Block& block) {
    for (const auto& operation : block.operations) {
      if (operation->type == "const") {
        check_constant(*operation);
      } else if (!operation->blocks.empty()) {
        check_nested(*operation);
      } else {
        check_operation(*operation);
      }
    }
  }

  // The commonest statement by far: no schema needed.
  void check_constant(const Operation& operation) {
    const auto* value = operation.attribute("val");
    if (!value && operation.argument("val")) return check_operation(operation);
    if (!value) fail(operation.location, "const: expected an attribute `val`, got none");
    if (operation.outputs.size() != 1) wrong_count(operation, 1);
    const auto& output = operation.outputs.front();
    if (!(output.type == value->type)) check_declared(operation, output, value->type);
    Definition definition{type_of(output, value->type), nullptr, true};
    if (value->type.is_tensor() && !value->is_blob() && is_static(value->type.dims)) {
      definition.view = &views_.emplace_back(const_view(*value));
    }
    define(output, definition);
  }

  void check_operation(const Operation& operation) {
    const auto args = resolve(program_, operation, lookup_);
    define_results(operation, infer(args));
  }

  void define_results(const Operation& operation, const std::vector<Type>& inferred) {
    if (operation.outputs.size() != inferred.size()) wrong_count(operation, inferred.size());
    const bool constant = operation.type.starts_with("constexpr_") || operation.type == "const";
    for (std::size_t i = 0; i < inferred.size(); ++i) {
      const auto& output = operation.outputs[i];
      check_dims(output, "");
      check_declared(operation, output, inferred[i]);
      define(output, {type_of(output, inferred[i]), nullptr, constant});
    }
  }

  void check_declared(const Operation& operation, const NamedType& output, const Type& inferred) {
    if (compatible(output.type, inferred)) return;
    fail(output.location, operation.type + ": expected " + quoted(output.name) + " to be " +
                              to_string(inferred) + ", got " + to_string(output.type));
  }

  // Every size is positive or `?`.
  void check_dims(const NamedType& named, std::string_view what) {
    for (const auto size : named.type.unwrapped().dims) {
      if (size > 0 || size == kUnknownDim) continue;
      fail(named.location, std::string(what) + quoted(named.name) +
                               ": expected sizes of 1 or more, got " + to_string(named.type));
    }
  }

  // cond and while_loop: their blocks see the names around them, and keep their own to themselves.
  void check_nested(const Operation& operation) {
    const bool loop = operation.type == "while_loop";
    if (!loop && operation.type != "cond") {
      fail(operation.location, operation.type + ": expected no nested blocks, got some");
    }
    if (operation.blocks.size() != 2) {
      fail(operation.location, operation.type + ": expected 2 nested blocks, got " +
                                   std::to_string(operation.blocks.size()));
    }
    const auto args = resolve(program_, operation, lookup_);
    std::vector<Type> carried;
    if (loop) {
      for (const auto& variable : args.list("loop_vars")) carried.push_back(variable.type);
    } else {
      for (const auto& output : operation.outputs) carried.push_back(output.type);
    }
    const std::vector<Type> predicate{Type::tensor(DType::kBool)};
    const std::vector<Type> none;
    check_block(operation, *operation.blocks[0], loop ? carried : none, loop ? predicate : carried);
    check_block(operation, *operation.blocks[1], loop ? carried : none, carried);
    define_results(operation, carried);
  }

  void check_block(const Operation& operation, const Block& block, const std::vector<Type>& inputs,
                   const std::vector<Type>& results) {
    const auto outside = defined_.size();
    if (block.inputs.size() != inputs.size()) {
      fail(operation.location, operation.type + ": expected a nested block with " +
                                   std::to_string(inputs.size()) + " inputs, got " +
                                   std::to_string(block.inputs.size()));
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      check_declared(operation, block.inputs[i], inputs[i]);
      define(block.inputs[i], {type_of(block.inputs[i], inputs[i]), nullptr, false});
    }
    check_operations(block);
    if (block.outputs.size() != results.size()) {
      fail(operation.location, operation.type + ": expected a nested block with " +
                                   std::to_string(results.size()) + " results, got " +
                                   std::to_string(block.outputs.size()));
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      const Type& type = *definition(block.outputs[i]).type;
      if (compatible(type, results[i])) continue;
      fail(block.outputs[i].location, operation.type + ": expected a result of " +
                                          to_string(results[i]) + ", got " + to_string(type));
    }
    while (defined_.size() > outside) {
      scope_.erase(defined_.back());
      defined_.pop_back();
    }
  }

  // Nearly always the declared type says it all; only then is nothing stored.
  const Type* type_of(const NamedType& declared, const Type& inferred) {
    if (declared.type == inferred) return &declared.type;
    return &merged_.emplace_back(merged(declared.type, inferred));
  }

  void define(const NamedType& named, const Definition& definition) {
    if (!scope_.try_emplace(named.name, definition).second) {
      fail(named.location, "expected a new name, got " + quoted(named.name) + " a second time",
           "every value is defined once");
    }
    defined_.push_back(named.name);
  }

  const Definition& definition(const Operand& operand) {
    const auto found = scope_.find(operand.name);
    if (found == scope_.end()) undefined(operand);
    return found->second;
  }

  ArgInfo info(const Operand& operand) {
    const auto& d = definition(operand);
    return {*d.type, d.view, operand.location, d.constant};
  }

  [[noreturn]] void undefined(const Operand& operand) {
    const auto near = nearest_name(operand.name, defined_);
    fail(operand.location, "expected a name defined before, got " + quoted(operand.name),
         near.empty() ? "" : "did you mean " + quoted(near) + "?");
  }

  [[noreturn]] void wrong_count(const Operation& operation, std::size_t expected) {
    fail(operation.location, operation.type + ": expected " + std::to_string(expected) +
                                 (expected == 1 ? " result" : " results") + ", got " +
                                 std::to_string(operation.outputs.size()));
  }

  [[noreturn]] void fail(Location where, const std::string& message, const std::string& hint = {}) {
    throw make_error(ErrorCode::kVerify, program_, where, message, hint);
  }

  const Program& program_;
  const std::function<ArgInfo(const Operand&)> lookup_;
  std::unordered_map<std::string_view, Definition> scope_;  // keys live in the program
  std::vector<std::string_view> defined_;                   // in order, to leave a block
  std::deque<Type> merged_;                                 // addresses stay valid
  std::deque<ConstView> views_;                             // likewise
};

}  // namespace

void verify(const Program& program) {
  try {
    Verifier(program).run();
  } catch (Error& error) {
    error.during("verify").from_device("com.apple.appleneuralengine.compiler", 1,
                                       "InvalidMILProgram");
    throw;
  }
}

}  // namespace milane::mil

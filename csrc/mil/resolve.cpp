// Matches an operation, as written, with its row of ops.def.
#include <algorithm>
#include <array>
#include <deque>

#include "mil/diagnostic.h"
#include "mil/infer.h"
#include "mil/schema.h"

namespace milane::mil {
namespace {

constexpr std::string_view kKindNames[] = {"tensor", "list",  "tuple",
                                           "dict",   "state", "tensor_buffer"};

std::string quoted(std::string_view name) { return "`" + std::string(name) + "`"; }

class Resolver {
 public:
  Resolver(const Program& program, const Operation& operation,
           const std::function<ArgInfo(const Operand&)>& lookup)
      : program_(program), operation_(operation), lookup_(lookup) {}

  OpArgs run() {
    schema_ = find_op(operation_.type);
    if (!schema_) unknown_operation();
    arguments_.reserve(operation_.arguments.size());
    for (const auto& argument : operation_.arguments) take(argument);
    if (attributes_are_arguments()) {
      for (const auto& attribute : operation_.attributes) {
        if (attribute.name != "name") take(attribute);
      }
    }
    for (const auto& arg : schema_->args) check(arg);
    return {program_, operation_, *schema_, std::move(arguments_), std::move(views_)};
  }

 private:
  // Constants carry `val`, and ios16's compressed constants everything, in the brackets.
  bool attributes_are_arguments() const {
    return operation_.type == "const" || operation_.type.starts_with("constexpr_");
  }

  void take(const Argument& argument) {
    auto& infos = slot(argument.name, argument.location);
    infos.reserve(argument.operands.size());
    for (const auto& operand : argument.operands) {
      infos.push_back(operand.is_name() ? lookup_(operand) : inline_info(*operand.value));
      infos.back().location = operand.location;
    }
    const auto* arg = schema_->arg(argument.name);
    if (arg && !arg->variadic && (argument.is_tuple || infos.size() != 1)) {
      fail(argument.location, "expected one value for " + quoted(argument.name) + ", got " +
                                  std::to_string(infos.size()) + " in parentheses");
    }
  }

  void take(const Attribute& attribute) {
    auto& infos = slot(attribute.name, attribute.value.location);
    infos.push_back(inline_info(attribute.value));
    infos.back().location = attribute.value.location;
  }

  std::vector<ArgInfo>& slot(const std::string& name, Location where) {
    if (!schema_->open && !schema_->arg(name)) unknown_argument(name, where);
    if (find_argument(arguments_, name))
      fail(where, "expected " + quoted(name) + " once, got it twice");
    return arguments_.emplace_back(name, std::vector<ArgInfo>{}).operands;
  }

  ArgInfo inline_info(const Value& value) {
    ArgInfo info{value.type, nullptr, value.location, true};
    if (value.type.is_tensor() && !value.is_blob() && is_static(value.type.dims)) {
      if (!views_) views_ = std::make_shared<std::deque<ConstView>>();
      views_->push_back(const_view(value));
      info.value = &views_->back();
    }
    return info;
  }

  void check(const ArgSchema& arg) {
    const auto* found = find_argument(arguments_, arg.name);
    if (!found) {
      if (!arg.optional) {
        fail(operation_.location, "expected an argument " + quoted(arg.name) + ", got none");
      }
      return;
    }
    if (found->operands.empty()) {
      fail(operation_.location, "expected values in " + quoted(arg.name) + ", got none");
    }
    for (const auto& info : found->operands) check(arg, info);
  }

  void check(const ArgSchema& arg, const ArgInfo& info) {
    const bool accepted = arg.any_kind ? !info.type.is_state() : info.type.kind == arg.kind;
    if (!accepted) {
      fail(info.location,
           "expected " + arg.name + " to be a " + kind_name(arg.kind) + ", got " +
               to_string(info.type),
           info.type.is_state() ? "only read_state and write_state take a state" : "");
    }
    const auto dtype = info.type.unwrapped().dtype;
    if (std::find(arg.dtypes.begin(), arg.dtypes.end(), dtype) == arg.dtypes.end()) {
      fail(info.location, "expected " + arg.name + " to be " + names(arg.dtypes) + ", got " +
                              std::string(dtype_name(dtype)));
    }
    if (arg.constant && !info.constant && !info.value) {
      fail(info.location,
           "expected a constant " + arg.name + ", got a value known only at run time");
    }
    if (arg.domain) check_domain(arg, info, dtype);
  }

  // Arguments that share a letter share an element type.
  void check_domain(const ArgSchema& arg, const ArgInfo& info, DType dtype) {
    auto& first = domains_[static_cast<std::size_t>(arg.domain - 'A')];
    if (!first.arg) {
      first = {&arg, dtype};
    } else if (first.dtype != dtype) {
      fail(info.location, "expected " + arg.name + " to be " +
                              std::string(dtype_name(first.dtype)) + " like " +
                              (first.arg == &arg ? "the others" : first.arg->name) + ", got " +
                              std::string(dtype_name(dtype)));
    }
  }

  static std::string kind_name(Type::Kind kind) {
    return std::string(kKindNames[static_cast<std::size_t>(kind)]);
  }

  static std::string names(const std::vector<DType>& dtypes) {
    std::string text;
    for (std::size_t i = 0; i < dtypes.size(); ++i) {
      if (i) text += i + 1 == dtypes.size() ? " or " : ", ";
      text += dtype_name(dtypes[i]);
    }
    return text;
  }

  [[noreturn]] void unknown_operation() const {
    const auto near = nearest_op(operation_.type);
    throw make_error(ErrorCode::kVerify, program_, operation_.location,
                     "unknown operation " + quoted(operation_.type),
                     near.empty() ? "" : "did you mean " + quoted(near) + "?");
  }

  [[noreturn]] void unknown_argument(const std::string& name, Location where) const {
    std::vector<std::string_view> known;
    for (const auto& arg : schema_->args) known.push_back(arg.name);
    const auto near = nearest_name(name, known);
    std::string hint = "did you mean " + quoted(near) + "?";
    if (near.empty()) {
      hint = operation_.type + " takes";
      for (std::size_t i = 0; i < known.size(); ++i) {
        hint += (i ? ", " : " ") + std::string(known[i]);
      }
    }
    fail(where, "unknown argument " + quoted(name), hint);
  }

  [[noreturn]] void fail(Location where, const std::string& message,
                         const std::string& hint = {}) const {
    throw make_error(ErrorCode::kVerify, program_, where.line ? where : operation_.location,
                     operation_.type + ": " + message, hint);
  }

  struct DomainUse {
    const ArgSchema* arg = nullptr;
    DType dtype = DType::kFp16;
  };

  const Program& program_;
  const Operation& operation_;
  const std::function<ArgInfo(const Operand&)>& lookup_;
  const OpSchema* schema_ = nullptr;
  std::vector<ArgOperands> arguments_;
  std::shared_ptr<std::deque<ConstView>> views_;
  std::array<DomainUse, 26> domains_{};
};

}  // namespace

OpArgs resolve(const Program& program, const Operation& operation,
               const std::function<ArgInfo(const Operand&)>& lookup) {
  return Resolver(program, operation, lookup).run();
}

}  // namespace milane::mil

// Walks a program and holds it against the table of ane_limits.cpp.
#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "backend/ane_limits.h"

namespace milane {
namespace {

using mil::Argument;
using mil::Location;
using mil::NamedType;
using mil::Operand;
using mil::Operation;
using mil::Type;
using mil::Value;

const LimitRule* rule(std::string_view id) {
  const auto rules = limit_rules();
  return &*std::find_if(rules.begin(), rules.end(), [&](const LimitRule& r) { return r.id == id; });
}

const std::unordered_map<std::string_view, const LimitRule*>& refused_operations() {
  static const auto kTable = [] {
    std::unordered_map<std::string_view, const LimitRule*> table;
    for (const auto& r : limit_rules()) {
      auto rest = r.operations;
      while (!rest.empty()) {
        const auto word = rest.substr(0, rest.find(' '));
        table[word] = &r;
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
      }
    }
    return table;
  }();
  return kTable;
}

bool is_constexpr(const Operation& op) { return op.type.starts_with("constexpr_"); }

// What the text says of a name.
struct Definition {
  Type type;
  const Value* value = nullptr;  // of a const
  bool compressed = false;       // made by constexpr_*
};

class Checker {
 public:
  explicit Checker(const mil::Program& program) : program_(program) {}

  std::vector<LimitFinding> run() {
    const bool has_info = std::any_of(
        program_.attributes.begin(), program_.attributes.end(), [](const auto& attribute) {
          return attribute.name == "buildInfo" && attribute.value.type.kind == Type::Kind::kDict;
        });
    if (!has_info) {
      const auto start = program_.source.empty() ? Location{} : Location{1, 1};
      add("build_info", start, "program: expected a `buildInfo` dictionary, got none");
    }
    for (const auto& function : program_.functions) check_function(*function);
    std::stable_sort(findings_.begin(), findings_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.location.line, a.location.column) <
             std::pair(b.location.line, b.location.column);
    });
    return std::move(findings_);
  }

 private:
  struct OperationCheck {
    std::string_view type;
    void (Checker::*check)(const Operation&);
  };
  static std::span<const OperationCheck> checks();

  void add(std::string_view id, Location where, std::string message) {
    findings_.push_back({rule(id), where, std::move(message)});
  }

  // --- functions and blocks

  void check_function(const mil::Function& function) {
    names_.clear();
    packed_.clear();
    unknown_size_told_ = false;
    find_packed(function.body);
    std::unordered_set<std::string_view> inputs;
    for (const auto& input : function.body.inputs) {
      inputs.insert(input.name);
      check_input(input);
    }
    check_operations(function.body);
    for (const auto& output : function.body.outputs) {
      if (!inputs.contains(output.name)) continue;
      add("output_is_input", output.location,
          "expected a result that an operation gives, got the input `" + output.name + "`");
    }
  }

  // Names that compressed constants take.
  void find_packed(const mil::Block& block) {
    for (const auto& op : block.operations) {
      for (const auto& nested : op->blocks) find_packed(*nested);
      if (!is_constexpr(*op)) continue;
      for (const auto& argument : op->arguments) {
        for (const auto& operand : argument.operands) packed_.insert(operand.name);
      }
    }
  }

  void check_input(const NamedType& input) {
    if (input.type.is_state()) {
      add("state", input.location, "expected a tensor, got the state `" + input.name + "`");
    } else if (!input.type.is_tensor()) {
      add("lists", input.location, "expected a tensor, got " + mil::to_string(input.type));
      return;
    }
    const Type& type = input.type.unwrapped();
    names_[input.name] = {type, nullptr, false};
    if (!is_static(type.dims)) unknown_size(input, type);
    check_tensor(input, type);
  }

  void check_operations(const mil::Block& block) {
    for (const auto& op : block.operations) {
      for (const auto& nested : op->blocks) check_operations(*nested);
      check_operation(*op);
    }
  }

  void check_operation(const Operation& op) {
    const auto& refused = refused_operations();
    if (const auto found = refused.find(op.type); found != refused.end()) {
      findings_.push_back(
          {found->second, op.location, "expected an operation the device runs, got " + op.type});
    }
    if (op.type == "const") return check_constant(op);
    if (!is_constexpr(op)) check_operands(op);
    for (const auto& check : checks()) {
      if (check.type == op.type) (this->*check.check)(op);
    }
    for (const auto& argument : op.arguments) count_weights(argument);
    for (const auto& attribute : op.attributes) count_weight(attribute.value);
    for (const auto& output : op.outputs) {
      names_[output.name] = {output.type, nullptr, is_constexpr(op)};
      if (!output.type.is_tensor()) continue;
      // What is unknown behind a flexible input, or behind another result, follows from it.
      if (!unknown_size_told_ && !is_static(output.type.dims)) unknown_size(output, output.type);
      check_tensor(output, output.type);
    }
  }

  // --- values

  void check_constant(const Operation& op) {
    const Value* value = op.attribute("val");
    if (value == nullptr || op.outputs.size() != 1) return;
    count_weight(*value);
    const auto& output = op.outputs.front();
    names_[output.name] = {output.type, value, false};
    if (packed_.contains(output.name) || !value->type.is_tensor()) return;
    if (output.type.dims.size() > kMaxRank) too_many_axes(output, output.type);
    if (value->type.dtype == DType::kBf16) not_bf16(output);
  }

  void check_tensor(const NamedType& named, const Type& type) {
    const auto& dims = type.dims;
    if (dims.size() > kMaxRank) too_many_axes(named, type);
    if (type.dtype == DType::kBf16) not_bf16(named);
    if (!dims.empty() && *std::max_element(dims.begin(), dims.end()) > kMaxDim) {
      add("dimension", named.location,
          "expected sizes of at most " + std::to_string(kMaxDim) + ", got " + to_string(dims) +
              " for `" + named.name + "`");
    }
  }

  void unknown_size(const NamedType& named, const Type& type) {
    unknown_size_told_ = true;
    add("static_shapes", named.location,
        "expected sizes that are known, got " + mil::to_string(type) + " for `" + named.name + "`");
  }

  void too_many_axes(const NamedType& named, const Type& type) {
    add("rank", named.location,
        "expected at most 5 axes, got " + std::to_string(type.dims.size()) + " for `" + named.name +
            "`");
  }

  void not_bf16(const NamedType& named) {
    add("bf16", named.location, "expected fp16, got bf16 for `" + named.name + "`");
  }

  // --- weights

  void count_weights(const Argument& argument) {
    for (const auto& operand : argument.operands) {
      if (!operand.is_name()) count_weight(*operand.value);
    }
  }

  void count_weight(const Value& value) {
    if (!value.is_blob() || !weights_.insert({value.blob_path, value.blob_offset}).second) return;
    const auto dtype = value.type.dtype == DType::kFp32 ? DType::kFp16 : value.type.dtype;
    const auto count = std::min(element_count(value.type.dims), std::int64_t{1} << 40);
    const auto before = weight_bytes_;
    weight_bytes_ += static_cast<std::int64_t>(packed_bytes(dtype, count));
    if (before > kMaxWeightBytes || weight_bytes_ <= kMaxWeightBytes) return;
    add("weight_bytes", value.location,
        "expected at most " + std::to_string(kMaxWeightBytes) + " bytes of weights, got " +
            std::to_string(weight_bytes_) + " up to here");
  }

  // --- every operation's operands

  void check_operands(const Operation& op) {
    for (const auto& argument : op.arguments) {
      for (const auto& operand : argument.operands) {
        if (operand.is_name()) {
          const auto* known = definition(operand);
          if (known && known->value) check_weight(op, argument, operand, *known->value);
        } else {
          check_in_place(op, argument, operand);
          check_weight(op, argument, operand, *operand.value);
        }
      }
    }
  }

  void check_in_place(const Operation& op, const Argument& argument, const Operand& operand) {
    const Value& value = *operand.value;
    const bool list = !value.type.is_tensor() || !value.type.dims.empty();
    if (value.is_blob() || (!list && value.type.dtype != DType::kBool)) return;
    add("named_operands", operand.location,
        op.type + ": expected the name of a constant for `" + argument.name + "`, got a " +
            (list ? "list" : "bool") + " written in place");
  }

  void check_weight(const Operation& op, const Argument& argument, const Operand& operand,
                    const Value& value) {
    if (!value.is_blob() || is_float(value.type.dtype)) return;
    add("integer_weights", operand.location,
        op.type + ": expected `" + argument.name + "` to be fp16 in the weight file, got " +
            std::string(dtype_name(value.type.dtype)));
  }

  // --- single operations

  const Definition* definition(const Operand& operand) const {
    const auto found = names_.find(operand.name);
    return found == names_.end() ? nullptr : &found->second;
  }

  // The operand of an argument that takes one; nullptr when it is left out.
  static const Operand* operand(const Operation& op, std::string_view name) {
    const auto* argument = op.argument(name);
    return argument && argument->operands.size() == 1 ? &argument->operands.front() : nullptr;
  }

  Dims dims(const Operation& op, std::string_view name) const {
    const auto* one = operand(op, name);
    if (one == nullptr) return {};
    if (!one->is_name()) return one->value->type.dims;
    const auto* known = definition(*one);
    return known ? known->type.dims : Dims{};
  }

  const Value* value(const Operation& op, std::string_view name) const {
    const auto* one = operand(op, name);
    if (one == nullptr) return nullptr;
    if (!one->is_name()) return one->value.get();
    const auto* known = definition(*one);
    return known ? known->value : nullptr;
  }

  // A constant integer, or what the operation takes when none is given.
  std::int64_t integer(const Operation& op, std::string_view name, std::int64_t otherwise) const {
    const Value* v = value(op, name);
    return v && !v->is_blob() && v->data.size() >= dtype_size(v->type.dtype) ? v->integer()
                                                                             : otherwise;
  }

  void cast_to_int32(const Operation& op) {
    const Value* dtype = value(op, "dtype");
    if (dtype == nullptr || dtype->strings.empty() || dtype->strings.front() != "int32") return;
    add("cast_int32", op.location, "cast: expected another type than int32, got int32");
  }

  void conv_bias(const Operation& op) {
    if (const auto* bias = op.argument("bias")) {
      add("conv_bias", bias->location, "conv: expected no `bias`, got one");
    }
  }

  void conv_3d(const Operation& op) {
    const auto rank = std::max(dims(op, "x").size(), dims(op, "weight").size());
    if (rank < 5) return;
    add("conv_3d", op.location,
        op.type + ": expected one or two spatial axes, got " + std::to_string(rank - 2));
  }

  void conv_kernel(const Operation& op) {
    const auto weight = dims(op, "weight");
    const auto* one = operand(op, "weight");
    const auto* known = one && one->is_name() ? definition(*one) : nullptr;
    if (weight.size() < 3 || weight.back() <= kMaxKernelWidth || (known && known->compressed)) {
      return;
    }
    add("kernel_width", one->location,
        "conv: expected a kernel of width " + std::to_string(kMaxKernelWidth) + " or less, got " +
            std::to_string(weight.back()));
  }

  void conv_groups(const Operation& op) {
    const auto x = dims(op, "x"), weight = dims(op, "weight");
    const auto groups = integer(op, "groups", 1);
    if (groups < 1 || x.size() < 3 || weight.size() < 3 || x[1] < 0 || weight[0] < 0) return;
    if (x[1] % groups == 0 && weight[0] % groups == 0) return;
    add("groups", op.location,
        "conv: expected groups that divide " + std::to_string(x[1]) + " and " +
            std::to_string(weight[0]) + " channels, got " + std::to_string(groups));
  }

  void matmul_batch(const Operation& op) {
    for (const auto name : {"x", "y"}) {
      const auto shape = dims(op, name);
      if (shape.size() < 5) continue;
      if (std::none_of(shape.begin(), shape.end() - 2, [](auto d) { return d > 1; })) continue;
      add("matmul_batch", operand(op, name)->location,
          "matmul: expected at most 4 axes, or batch axes of 1, got " + to_string(shape) +
              " for `" + name + "`");
      return;
    }
  }

  void argmax_axis(const Operation& op) {
    const auto x = dims(op, "x");
    const auto rank = static_cast<std::int64_t>(x.size());
    auto axis = integer(op, "axis", -1);
    axis = axis < 0 ? axis + rank : axis;
    if (axis < 0 || axis >= rank || x[static_cast<std::size_t>(axis)] <= kMaxArgAxis) return;
    add("argmax_axis", op.location,
        op.type + ": expected at most " + std::to_string(kMaxArgAxis) + " values along axis " +
            std::to_string(axis) + ", got " + to_string(x));
  }

  void constexpr_reshape(const Operation& op) {
    const auto* x = operand(op, "x");
    const auto* known = x && x->is_name() ? definition(*x) : nullptr;
    if (known == nullptr || !known->compressed) return;
    add("constexpr_reshape", x->location,
        "reshape: expected no compressed constant, got `" + x->name + "`");
  }

  const mil::Program& program_;
  std::vector<LimitFinding> findings_;
  std::unordered_map<std::string_view, Definition> names_;
  std::unordered_set<std::string_view> packed_;  // constants that constexpr_* takes
  bool unknown_size_told_ = false;               // in this function
  std::set<std::pair<std::string, std::uint64_t>> weights_;
  std::int64_t weight_bytes_ = 0;
};

std::span<const Checker::OperationCheck> Checker::checks() {
  static constexpr OperationCheck kChecks[] = {
      {"cast", &Checker::cast_to_int32},
      {"conv", &Checker::conv_bias},
      {"conv", &Checker::conv_3d},
      {"conv", &Checker::conv_kernel},
      {"conv", &Checker::conv_groups},
      {"conv_transpose", &Checker::conv_3d},
      {"matmul", &Checker::matmul_batch},
      {"reduce_argmax", &Checker::argmax_axis},
      {"reduce_argmin", &Checker::argmax_axis},
      {"reshape", &Checker::constexpr_reshape},
  };
  return kChecks;
}

}  // namespace

std::vector<LimitFinding> broken_limits(const mil::Program& program) {
  return Checker(program).run();
}

}  // namespace milane

// From MIL to the planning graph: concrete types, storage dtypes, constants folded, views aliased.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "backend/shapes.h"
#include "core/aligned.h"
#include "host/broadcast.h"
#include "host/graph.h"
#include "host/op_table.h"
#include "host/quirks.h"
#include "mil/diagnostic.h"
#include "mil/schema.h"

namespace milane::host {
namespace {

// A folded result larger than this is computed at every evaluation instead of being kept.
constexpr std::size_t kFoldLimit = std::size_t{256} << 20;
// A folded result smaller than this is folded again by every compile.
constexpr std::size_t kBakedFold = std::size_t{16} << 10;
// From here on, weights in the caller's memory are used in place if they are aligned for a
// register; copying them would cost more than the loads that cross cache lines.
constexpr std::size_t kInPlaceBytes = std::size_t{64} << 10;
constexpr std::size_t kInPlaceAlignment = 16;

class Lowering {
 public:
  Lowering(const mil::Program& program, const mil::Function& function, const WeightSet& weights,
           const CompileOptions& options, Baking& baking)
      : program_(program),
        function_(function),
        weights_(weights),
        options_(options),
        baking_(baking) {}

  Graph run() {
    const auto& operations = function_.body.operations;
    names_.reserve(operations.size());
    bind_inputs();
    const std::vector<bool> live = live_operations(function_);
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (live[i]) lower_operation(*operations[i]);
    }
    for (const auto& out : function_.body.outputs)
      graph_.outputs.emplace_back(out.name, id_of(out));
    for (const auto& [name, id] : graph_.outputs) note_read(id);
    for (const auto& [id, place] : baked_folds_) {
      if (!read_[static_cast<std::size_t>(id)]) baking_.leave_out(place);
    }
    return std::move(graph_);
  }

 private:
  // --- values

  DType storage(DType t) const {
    return options_.numerics == Numerics::kFp32 && t == DType::kFp16 ? DType::kFp32 : t;
  }

  ValueId new_value(mil::Type type, DType dtype) {
    const auto id = static_cast<ValueId>(graph_.values.size());
    ValueInfo& v = graph_.values.emplace_back();
    v.operand = {id, dtype, type.dims, nullptr};
    v.type = std::move(type);
    v.root = id;
    pointers_.push_back(nullptr);
    read_.push_back(false);
    return id;
  }

  void name(const mil::NamedType& named, ValueId id) { names_[named.name] = id; }

  ValueId id_of(const mil::Operand& operand) const {
    const auto it = names_.find(operand.name);
    if (it == names_.end()) {
      throw mil::make_error(ErrorCode::kVerify, program_, operand.location,
                            "undefined name `" + operand.name + "`");
    }
    return it->second;
  }

  ValueId new_constant(mil::Type type, DType dtype, std::shared_ptr<const void> owner,
                       const std::byte* data) {
    const ValueId id = new_value(std::move(type), dtype);
    ValueInfo& v = graph_.at(id);
    v.constant = true;
    v.kind = Slot::Kind::kConstant;
    v.operand.constant = data;
    v.view = {dtype, v.operand.dims, data, nullptr};
    // Op functions take constants through the same table as everything else, as const.
    pointers_[static_cast<std::size_t>(id)] = const_cast<std::byte*>(data);
    graph_.owners.push_back(std::move(owner));
    return id;
  }

  // --- constants written in the text or kept in blob files

  ValueId constant_of(const mil::Value& value) {
    if (const auto it = constants_.find(&value); it != constants_.end()) return it->second;
    const ValueId id = make_constant(value);
    constants_[&value] = id;
    return id;
  }

  ValueId make_constant(const mil::Value& value) {
    if (!value.type.is_tensor()) {
      throw mil::make_error(ErrorCode::kUnsupportedOp, program_, value.location,
                            "expected a tensor constant, got " + mil::to_string(value.type));
    }
    if (value.type.dtype == DType::kString) {
      const ValueId id = new_value(value.type, DType::kString);
      ValueInfo& v = graph_.at(id);
      v.constant = true;
      v.kind = Slot::Kind::kConstant;
      v.view = {DType::kString, value.type.dims, nullptr, &value.strings};
      return id;
    }
    WeightData data{value.data.data(), value.data.size(), nullptr};
    if (value.is_blob()) data = weights_.find(program_, value);
    const DType to = storage(value.type.dtype);
    const std::size_t alignment = data.bytes < kInPlaceBytes ? kCacheLine : kInPlaceAlignment;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data.data) % alignment == 0;
    if (to == value.type.dtype && aligned && data.owner) {
      return new_constant(value.type, to, data.owner, data.data);
    }
    const std::int64_t count = element_count(value.type.dims);
    auto owned = aligned_bytes(packed_bytes(to, count));
    if (to == value.type.dtype) {
      if (data.bytes) std::memcpy(owned.get(), data.data, data.bytes);
    } else {
      convert_half_to_float(reinterpret_cast<float*>(owned.get()),
                            reinterpret_cast<const Half*>(data.data),
                            static_cast<std::size_t>(count));
    }
    const std::byte* bytes = owned.get();
    return new_constant(value.type, to, std::move(owned), bytes);
  }

  // --- the function's ends

  void bind_inputs() {
    const auto shapes = concrete_shapes(function_, options_.shapes);
    for (const auto& input : function_.body.inputs) {
      const bool is_state = input.type.is_state();
      mil::Type type = input.type.unwrapped();
      if (!type.is_tensor()) {
        throw mil::make_error(
            ErrorCode::kUnsupportedOp, program_, input.location,
            "expected a tensor or state input, got " + mil::to_string(input.type));
      }
      type.dims = shapes.at(input.name);
      const DType dtype = storage(type.dtype);
      const ValueId id = new_value(std::move(type), dtype);
      auto& ids = is_state ? graph_.state_ids : graph_.input_ids;
      graph_.at(id).kind = is_state ? Slot::Kind::kState : Slot::Kind::kInput;
      graph_.at(id).port = ids.size();
      ids.push_back(id);
      ValueId seen = id;
      if (!is_state && options_.numerics == Numerics::kAne && is_float(dtype) &&
          options_.quirks.test(static_cast<std::size_t>(Quirk::kNanInput))) {
        seen = cleaned_input(id, input.name);
      }
      names_[input.name] = seen;
    }
  }

  // numerics "ane": the program reads a copy of the input with the device's view of NaN.
  ValueId cleaned_input(ValueId id, const std::string& input) {
    const ValueId clean = new_value(graph_.at(id).type, graph_.at(id).operand.dtype);
    Node node;
    node.op = "nan_input";
    node.name = input;
    node.inputs = {{"x", {graph_.at(id).operand}}};
    node.outputs = {graph_.at(clean).operand};
    node.run = replace_input_nan(graph_.at(id).operand, graph_.at(clean).operand);
    graph_.nodes.push_back(std::move(node));
    return clean;
  }

  // --- operations

  [[noreturn]] void fail(ErrorCode code, const mil::Operation& op, const std::string& message,
                         const std::string& hint = {}) const {
    throw mil::make_error(code, program_, op.location, op.type + ": " + message, hint)
        .during("compile");
  }

  // Every operand of the operation as (argument, value ids); attributes of compressed constants
  // and values written in place become constants of their own.
  using Arguments = std::vector<std::pair<std::string_view, std::vector<ValueId>>>;
  Arguments arguments_of(const mil::Operation& op) {
    Arguments all;
    all.reserve(op.arguments.size());
    for (const auto& argument : op.arguments) {
      std::vector<ValueId> ids;
      ids.reserve(argument.operands.size());
      for (const auto& o : argument.operands)
        ids.push_back(o.is_name() ? id_of(o) : constant_of(*o.value));
      all.emplace_back(argument.name, std::move(ids));
    }
    if (op.type.starts_with("constexpr_")) {
      for (const auto& a : op.attributes) {
        if (a.name != "name") all.emplace_back(a.name, std::vector<ValueId>{constant_of(a.value)});
      }
    }
    return all;
  }

  // The schema's view of those operands: names looked up there, so that folded values are known.
  mil::OpArgs resolve(const mil::Operation& op, const Arguments& arguments) const {
    std::vector<mil::ArgOperands> known;
    known.reserve(arguments.size());
    for (const auto& [argument, ids] : arguments) {
      auto& list = known.emplace_back(argument, std::vector<mil::ArgInfo>{}).operands;
      list.reserve(ids.size());
      const mil::Argument* written = op.argument(argument);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const ValueInfo& v = graph_.at(ids[i]);
        const auto where = written ? written->operands[i].location : op.location;
        list.push_back({v.kind == Slot::Kind::kState ? mil::Type::state(v.type) : v.type,
                        v.constant ? &v.view : nullptr, where, v.constant});
      }
    }
    return {program_, op, *mil::find_op(op.type), std::move(known)};
  }

  void lower_operation(const mil::Operation& op) {
    const mil::OpSchema* schema = mil::find_op(op.type);
    if (schema == nullptr || schema->host == mil::HostSupport::kNone) {
      fail(ErrorCode::kUnsupportedOp, op,
           "expected an operation the host engine runs, got one it lacks",
           "docs/ops.md lists the operations of each backend");
    }
    if (op.type == "const") return name(op.outputs.front(), constant_of(*op.attribute("val")));
    const Arguments arguments = arguments_of(op);
    const mil::OpArgs args = resolve(op, arguments);
    if (schema->host == mil::HostSupport::kPlan) return lower_state(op, arguments);
    const std::vector<ValueId> outs = make_outputs(op, args);
    if (schema->host == mil::HostSupport::kView) {
      lower_view(op, arguments, outs.front());
    } else {
      lower_compute(op, args, arguments, outs);
    }
    for (std::size_t i = 0; i < outs.size(); ++i) name(op.outputs[i], outs[i]);
  }

  std::vector<ValueId> make_outputs(const mil::Operation& op, const mil::OpArgs& args) {
    const std::vector<mil::Type> types = mil::infer(args);
    if (types.size() != op.outputs.size()) {
      fail(ErrorCode::kCompile, op,
           "expected " + std::to_string(types.size()) + " results, got " +
               std::to_string(op.outputs.size()));
    }
    std::vector<ValueId> ids;
    for (std::size_t i = 0; i < types.size(); ++i) {
      const mil::Type& declared = op.outputs[i].type;
      if (!mil::compatible(declared, types[i])) {
        fail(ErrorCode::kCompile, op,
             "expected result " + op.outputs[i].name + " to be " + mil::to_string(declared) +
                 ", got " + mil::to_string(types[i]));
      }
      mil::Type type = types[i];
      for (std::size_t d = 0; d < type.dims.size(); ++d) {
        if (type.dims[d] < 0) type.dims[d] = declared.dims[d];
      }
      check_dims(op, type.dims);
      const DType dtype = storage(type.dtype);
      ids.push_back(new_value(std::move(type), dtype));
    }
    return ids;
  }

  void check_dims(const mil::Operation& op, const Dims& dims) const {
    if (!is_static(dims)) {
      fail(ErrorCode::kCompile, op,
           "expected a shape known at compile time, got " + to_string(dims),
           "the host engine plans memory ahead: shapes may depend on input shapes, not on input "
           "values");
    }
    if (dims.size() > Broadcast::kAxes) {
      fail(ErrorCode::kCompile, op,
           "expected at most " + std::to_string(Broadcast::kAxes) + " axes, got " +
               std::to_string(dims.size()) + " in " + to_string(dims));
    }
    if (std::find(dims.begin(), dims.end(), 0) != dims.end()) {
      fail(ErrorCode::kCompile, op, "expected positive dimensions, got " + to_string(dims),
           "the device rejects empty tensors (ane_rules)");
    }
    if (element_count(dims) > (std::int64_t{1} << 40)) {
      fail(ErrorCode::kCompile, op,
           "expected a tensor that fits in memory, got " + to_string(dims));
    }
  }

  void lower_view(const mil::Operation& op, const Arguments& arguments, ValueId out) {
    const auto x =
        std::find_if(arguments.begin(), arguments.end(), [](auto& a) { return a.first == "x"; });
    const ValueInfo& from = graph_.at(x->second.front());
    ValueInfo& to = graph_.at(out);
    if (from.operand.count() != to.operand.count()) {
      fail(ErrorCode::kCompile, op,
           "expected " + std::to_string(from.operand.count()) + " elements, got " +
               to_string(to.operand.dims));
    }
    to.root = from.root;
    if (!from.constant) return;
    to.constant = true;
    to.kind = Slot::Kind::kConstant;
    to.operand.constant = from.operand.constant;
    to.view = {from.view.dtype, to.operand.dims, from.view.data, from.view.strings};
    pointers_[static_cast<std::size_t>(out)] = pointers_[static_cast<std::size_t>(from.operand.id)];
  }

  std::vector<Operand> operands(const std::vector<ValueId>& ids) const {
    std::vector<Operand> all;
    all.reserve(ids.size());
    for (ValueId id : ids) all.push_back(graph_.at(id).operand);
    return all;
  }

  void lower_compute(const mil::Operation& op, const mil::OpArgs& args, const Arguments& arguments,
                     const std::vector<ValueId>& outs) {
    Node node;
    node.op = op.type;
    node.name = op.outputs.front().name;
    node.line = op.location.line;
    bool all_constant = true;
    for (const auto& [argument, ids] : arguments) {
      // The schema owns the name for good; the program may be edited or freed.
      node.inputs.emplace_back(mil::find_op(op.type)->arg(argument)->name, operands(ids));
      // These read a shape and no data: known at planning, whatever the data.
      const bool shape_only = op.type == "shape" || argument == "ref_tensor";
      for (ValueId id : ids) all_constant = all_constant && (shape_only || graph_.at(id).constant);
    }
    node.outputs = operands(outs);
    OpSite site(args, node.inputs, node.outputs, &baking_, options_.numerics == Numerics::kBf16);
    prepare(op, site, node);
    std::size_t bytes = 0;
    for (const Operand& o : node.outputs) bytes += o.bytes();
    const bool folded = all_constant && bytes <= kFoldLimit;
    const bool baked = folded && outs.size() == 1 && bytes >= kBakedFold;
    // A transposition that is baked looks at its operand only when it runs.
    if (!baked || op.type != "transpose") note_reads(node);
    if (baked) return bake_fold(node, outs.front());
    if (folded) return fold(node, outs);
    graph_.nodes.push_back(std::move(node));
  }

  void prepare(const mil::Operation& op, OpSite& site, Node& node) {
    const HostOp* host = find_host_op(op.type);
    if (host->lower != nullptr) {
      node.lowered = host->lower(site);
      for (auto argument : node.lowered.args) {
        if (!argument.empty()) node.chain_inputs.push_back(site.in(argument));
      }
      if (!is_chainable(node.lowered, node.chain_inputs, node.outputs.front())) {
        node.run = integer_elementwise(node.lowered, node.chain_inputs, node.outputs.front());
        if (!node.run) {
          fail(ErrorCode::kUnsupportedOp, op,
               "expected fp16 or fp32 operands, got " +
                   std::string(dtype_name(node.chain_inputs.front().dtype)));
        }
      }
    } else {
      node.run = host->function(site);
    }
    node.scratch_bytes = site.scratch_bytes();
    node.following = site.promised();
    if (options_.numerics == Numerics::kAne) apply_quirks(site, op.type, options_.quirks, node);
  }

  // What the operation needs of its operands beyond what it has packed. Several uses by one
  // operation count as one that needs it.
  void note_reads(const Node& node) {
    const std::vector<ValueId> packed = baking_.take_packed();
    std::vector<ValueId> once;
    for (const auto& [argument, operands] : node.inputs) {
      for (const Operand& o : operands) {
        const bool first = std::find(once.begin(), once.end(), o.id) == once.end();
        const bool is_packed = std::find(packed.begin(), packed.end(), o.id) != packed.end();
        if (first) once.push_back(o.id);
        if (!first || !is_packed) note_read(o.id);
      }
    }
  }

  // The node's result becomes a constant, from an earlier compile where there is one.
  void bake_fold(Node& node, ValueId out) {
    const std::size_t bytes = graph_.at(out).operand.bytes();
    if (auto memory = baking_.take(bytes)) return set_constant(out, std::move(memory));
    fold(node, {out});
    const std::shared_ptr<const void>& made = graph_.owners.back();
    baked_folds_[out] = baking_.keep(std::static_pointer_cast<const std::byte>(made), bytes);
  }

  void note_read(ValueId id) { read_[static_cast<std::size_t>(graph_.root(id))] = true; }

  void set_constant(ValueId id, std::shared_ptr<std::byte> memory) {
    ValueInfo& v = graph_.at(id);
    pointers_[static_cast<std::size_t>(id)] = memory.get();
    v.constant = true;
    v.kind = Slot::Kind::kConstant;
    v.operand.constant = memory.get();
    v.view = {v.operand.dtype, v.operand.dims, memory.get(), nullptr};
    graph_.owners.push_back(std::move(memory));
  }

  // Runs the node now; its results become constants.
  void fold(Node& node, const std::vector<ValueId>& outs) {
    if (node.is_chain()) node.run = single_chain(node);
    auto scratch = aligned_bytes(node.scratch_bytes);
    std::vector<std::shared_ptr<std::byte>> results;
    for (ValueId id : outs) {
      results.push_back(aligned_bytes(graph_.at(id).operand.bytes()));
      pointers_[static_cast<std::size_t>(id)] = results.back().get();
    }
    node.run(Exec(pointers_.data(), scratch.get()));
    for (std::size_t i = 0; i < outs.size(); ++i) set_constant(outs[i], std::move(results[i]));
  }

  static RunFn single_chain(const Node& node) {
    ChainBuilder chain(node.outputs.front().dims);
    chain.add(node.lowered, node.chain_inputs, node.outputs.front());
    return chain.build([](ValueId) { return true; });
  }

  // --- states

  static ValueId argument(const Arguments& arguments, std::string_view name) {
    for (const auto& [key, ids] : arguments) {
      if (key == name) return ids.front();
    }
    return -1;
  }

  void lower_state(const mil::Operation& op, const Arguments& arguments) {
    if (op.type == "read_state") return read_state(op, argument(arguments, "input"));
    const bool update = op.type == "coreml_update_state";
    const ValueId state = argument(arguments, update ? "state" : "input");
    const ValueId data = argument(arguments, update ? "value" : "data");
    Node node = copy_node(op, data, state);
    node.writes_state = state;
    graph_.nodes.push_back(std::move(node));
    if (update) read_state(op, state);
  }

  Node copy_node(const mil::Operation& op, ValueId from, ValueId to) {
    note_read(from);
    Node node;
    node.op = op.type;
    node.name = op.outputs.empty() ? op.type : op.outputs.front().name;
    node.line = op.location.line;
    node.inputs = {{"x", {graph_.at(from).operand}}};
    node.outputs = {graph_.at(to).operand};
    node.run = copy_bytes(node.inputs.front().second.front(), node.outputs.front());
    return node;
  }

  // A read is a copy until settle_state_reads() finds that it can be a view.
  void read_state(const mil::Operation& op, ValueId state) {
    if (op.outputs.empty()) return;
    const ValueId out = new_value(graph_.at(state).type, graph_.at(state).operand.dtype);
    Node node = copy_node(op, state, out);
    node.reads_state = state;
    graph_.nodes.push_back(std::move(node));
    name(op.outputs.front(), out);
  }

  const mil::Program& program_;
  const mil::Function& function_;
  const WeightSet& weights_;
  const CompileOptions& options_;
  Baking& baking_;
  Graph graph_;
  std::unordered_map<std::string_view, ValueId> names_;
  std::unordered_map<const mil::Value*, ValueId> constants_;
  std::vector<std::byte*> pointers_;  // by ValueId; set for constants, used when folding
  std::vector<bool> read_;  // by ValueId: roots that are needed as they are, not only packed
  std::unordered_map<ValueId, std::size_t> baked_folds_;  // folded value -> its place in baking_
};

}  // namespace

Graph lower(const mil::Program& program, const mil::Function& function, const WeightSet& weights,
            const CompileOptions& options, Baking& baking) {
  return Lowering(program, function, weights, options, baking).run();
}

}  // namespace milane::host

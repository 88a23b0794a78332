// From the planning graph to steps: chains grouped, results placed.
#include "host/plan.h"

#include <algorithm>
#include <limits>

#include "host/arena.h"
#include "host/graph.h"
#include "host/patterns.h"
#include "host/quirks.h"
#include "mil/diagnostic.h"

namespace milane::host {
namespace {

// No step, block or offset of a value: tables are indexed by ValueId, which counts from 0.
constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// A step before places are known: what it reads and writes, by root.
struct Draft {
  Step step;
  std::vector<ValueId> reads, writes;
  // Operands a result may overwrite: same place in memory, same size, read before it is written.
  std::vector<Operand> overwritable;
  std::vector<Operand> results;
};

class Planner {
 public:
  Planner(const mil::Function& function, Graph graph, bool fuse)
      : function_(function), graph_(std::move(graph)), fuse_(fuse) {}

  std::shared_ptr<const Plan> run() {
    plan_->function = function_.name;
    claim_outputs();
    find_last_uses();
    group();
    add_output_copies();
    place();
    finish();
    return plan_;
  }

 private:
  ValueId root(ValueId id) const { return graph_.root(id); }
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  Port port_of(const std::string& name, const ValueInfo& v) const {
    try {
      return {name, TensorLayout(v.operand.dtype, v.operand.dims)};
    } catch (const Error& e) {
      throw Error(ErrorCode::kCompile, function_.name + ": " + name + ": " + e.message(), e.hint());
    }
  }

  // A result that is returned once is computed straight into the output's surface; everything else
  // (an input, a constant, a state, a second return of the same value) is copied there at the end.
  void claim_outputs() {
    for (const auto& [name, id] : graph_.outputs) {
      const ValueId r = root(id);
      const std::size_t index = plan_->outputs.size();
      plan_->outputs.push_back(port_of(name, graph_.at(id)));
      if (graph_.at(r).kind == Slot::Kind::kArena && !graph_.at(r).constant) {
        graph_.at(r).kind = Slot::Kind::kOutput;
        graph_.at(r).port = index;
        plan_->output_ids.push_back(r);
        continue;
      }
      const auto copy = static_cast<ValueId>(graph_.values.size());
      ValueInfo& v = graph_.values.emplace_back();
      v.type = graph_.at(id).type;
      v.operand = {copy, graph_.at(id).operand.dtype, v.type.dims, nullptr};
      v.root = copy;
      v.kind = Slot::Kind::kOutput;
      v.port = index;
      plan_->output_ids.push_back(copy);
      copies_.emplace_back(id, copy);
    }
  }

  // Index of the last node that reads each root; returned values live to the end.
  void find_last_uses() {
    last_use_.assign(graph_.values.size(), 0);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const auto& [argument, operands] : graph_.nodes[i].inputs) {
        for (const Operand& o : operands) last_use_[index(root(o.id))] = i;
      }
    }
    for (const auto& [id, copy] : copies_) last_use_[index(root(id))] = graph_.nodes.size();
    for (ValueId id : plan_->output_ids) last_use_[index(id)] = graph_.nodes.size();
  }

  bool used_after(ValueId id, std::size_t node) const { return last_use_[index(root(id))] > node; }

  // --- steps

  void group() {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      Node& node = graph_.nodes[i];
      if (!node.is_chain()) {
        flush(i);
        emit(node);
        continue;
      }
      if (chain_ && !joins(node)) flush(i);
      if (!chain_) chain_ = std::make_unique<ChainBuilder>(node.outputs.front().dims);
      if (!chain_->add(node.lowered, node.chain_inputs, node.outputs.front())) {
        flush(i);
        chain_ = std::make_unique<ChainBuilder>(node.outputs.front().dims);
        chain_->add(node.lowered, node.chain_inputs, node.outputs.front());
      }
      chain_nodes_.push_back(&node);
      chain_results_.push_back(node.outputs.front().id);
    }
    flush(graph_.nodes.size());
  }

  // A node joins when its shape is the chain's and no operand is another view of a result that the
  // chain has not stored yet.
  bool joins(const Node& node) const {
    if (!fuse_ || node.outputs.front().dims != chain_->dims()) return false;
    return std::all_of(node.chain_inputs.begin(), node.chain_inputs.end(), [&](const Operand& o) {
      return o.id == root(o.id) || std::find(chain_results_.begin(), chain_results_.end(),
                                             root(o.id)) == chain_results_.end();
    });
  }

  // Ends the chain before node `next`.
  void flush(std::size_t next) {
    if (!chain_) return;
    Draft draft;
    draft.step.run = chain_->build([&](ValueId id) { return used_after(id, next - 1); });
    for (const Node* node : chain_nodes_) {
      draft.step.op += (draft.step.op.empty() ? "" : "+") + node->op;
    }
    draft.step.name = chain_nodes_.back()->name;
    draft.step.line = chain_nodes_.back()->line;
    for (const Operand& o : chain_->loads()) draft.reads.push_back(root(o.id));
    draft.overwritable = overwritable(chain_->loads(), chain_->dims());
    draft.results = chain_->stores();
    for (const Operand& o : draft.results) draft.writes.push_back(root(o.id));
    drafts_.push_back(std::move(draft));
    chain_.reset();
    chain_nodes_.clear();
    chain_results_.clear();
  }

  // Operands read position by position; one that is also read through a broadcast view is not.
  std::vector<Operand> overwritable(const std::vector<Operand>& loads, const Dims& dims) const {
    std::vector<Operand> safe;
    for (const Operand& o : loads) {
      const bool always_whole = std::all_of(loads.begin(), loads.end(), [&](const Operand& other) {
        return root(other.id) != root(o.id) || other.dims == dims;
      });
      if (always_whole) safe.push_back(o);
    }
    return safe;
  }

  void emit(Node& node) {
    Draft draft;
    draft.step = {std::move(node.run), std::move(node.op), std::move(node.name), node.line};
    for (const auto& [argument, operands] : node.inputs) {
      for (const Operand& o : operands) draft.reads.push_back(root(o.id));
    }
    for (const Operand& o : node.outputs) draft.writes.push_back(root(o.id));
    plan_->scratch_bytes = std::max(plan_->scratch_bytes, node.scratch_bytes);
    drafts_.push_back(std::move(draft));
  }

  void add_output_copies() {
    for (const auto& [from, to] : copies_) {
      Draft draft;
      draft.step = {copy_bytes(graph_.at(from).operand, graph_.at(to).operand), "copy",
                    plan_->outputs[graph_.at(to).port].name, 0};
      draft.reads = {root(from)};
      draft.writes = {to};
      drafts_.push_back(std::move(draft));
    }
  }

  // --- places

  void place() {
    std::vector<ArenaBlock> blocks;
    std::vector<std::size_t> block_of(graph_.values.size(), kNone);
    for (std::size_t s = 0; s < drafts_.size(); ++s) {
      for (ValueId id : drafts_[s].writes) {
        if (graph_.at(id).kind != Slot::Kind::kArena || block_of[index(id)] != kNone) continue;
        block_of[index(id)] = blocks.size();
        blocks.push_back(
            {graph_.at(id).operand.bytes(), static_cast<int>(s), static_cast<int>(s), -1, 0});
      }
      for (ValueId id : drafts_[s].reads) {
        const std::size_t block = block_of[index(id)];
        if (block != kNone) blocks[block].last = static_cast<int>(s);
      }
    }
    for (std::size_t s = 0; s < drafts_.size(); ++s)
      reuse_in_place(static_cast<int>(s), blocks, block_of);
    plan_->arena_bytes = place_blocks(blocks);
    offsets_.assign(block_of.size(), 0);
    for (std::size_t id = 0; id < block_of.size(); ++id) {
      if (block_of[id] != kNone) offsets_[id] = blocks[block_of[id]].offset;
    }
  }

  // A chain reads each tile before it writes it, so a result may take over an operand that dies
  // here.
  void reuse_in_place(int step, std::vector<ArenaBlock>& blocks,
                      const std::vector<std::size_t>& block_of) const {
    const Draft& draft = drafts_[static_cast<std::size_t>(step)];
    std::vector<std::size_t> taken;
    for (const Operand& result : draft.results) {
      const std::size_t out = block_of[index(root(result.id))];
      if (out == kNone) continue;
      for (const Operand& operand : draft.overwritable) {
        const std::size_t in = block_of[index(root(operand.id))];
        if (in == kNone || in > out || blocks[in].last != step) continue;
        if (std::find(taken.begin(), taken.end(), in) != taken.end()) continue;
        if (dtype_size(operand.dtype) != dtype_size(result.dtype)) continue;
        blocks[out].same_as = static_cast<int>(in);
        taken.push_back(in);
        break;
      }
    }
  }

  void finish() {
    for (const ValueInfo& v : graph_.values) plan_->slots.push_back(slot_of(v));
    for (auto& draft : drafts_) plan_->steps.push_back(std::move(draft.step));
    std::size_t at_input = 0, at_state = 0;
    for (const auto& input : function_.body.inputs) {
      const bool is_state = input.type.is_state();
      const ValueId id = is_state ? graph_.state_ids[at_state++] : graph_.input_ids[at_input++];
      (is_state ? plan_->states : plan_->inputs).push_back(port_of(input.name, graph_.at(id)));
    }
    plan_->input_ids = graph_.input_ids;
    plan_->state_ids = graph_.state_ids;
    plan_->owners = std::move(graph_.owners);
  }

  Slot slot_of(const ValueInfo& v) const {
    if (v.constant) return {Slot::Kind::kConstant, v.operand.constant, 0};
    const ValueInfo& r = graph_.at(v.root);
    if (r.kind != Slot::Kind::kArena) return {r.kind, nullptr, r.port};
    return {Slot::Kind::kArena, nullptr, offsets_[index(v.root)]};
  }

  const mil::Function& function_;
  Graph graph_;
  bool fuse_;
  std::shared_ptr<Plan> plan_ = std::make_shared<Plan>();
  std::vector<std::pair<ValueId, ValueId>> copies_;
  std::vector<std::size_t> last_use_;  // by ValueId
  std::vector<Draft> drafts_;
  std::vector<std::size_t> offsets_;  // by ValueId
  std::unique_ptr<ChainBuilder> chain_;
  std::vector<const Node*> chain_nodes_;
  std::vector<ValueId> chain_results_;
};

}  // namespace

std::shared_ptr<const Plan> make_plan(const mil::Program& program, const mil::Function& function,
                                      const WeightSet& weights, const CompileOptions& options,
                                      Baking& baking) {
  const bool fuse = options.fuse && options.numerics != Numerics::kAne;
  Graph graph = lower(program, function, weights, options, baking);
  if (fuse) apply_patterns(graph);
  settle_state_reads(graph);
  return Planner(function, std::move(graph), fuse).run();
}

}  // namespace milane::host

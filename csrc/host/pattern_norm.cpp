// RMSNorms that divide by the largest element first, so that no square overflows: abs, reduce_max,
// numbers of a position, a division, squares, their sum or mean, numbers of a position again, a
// product, and where one follows a product with a weight. What makes those numbers may be any
// elementwise operations. Every bit stays:
//
// * The largest is the same whatever the order, except for which NaN it is; NaN wins in both.
// * Ratios and squares are rounded as their nodes round them, and squares added in the order of the
//   reduction: row by row where something lies behind the axis, else a block of 1024 elements at a
//   time. The ratios wait in the result's memory, in the type that their node has.
// * Numbers of a position run through the instructions of their nodes, and so do the elements of a
//   row where nothing lies behind the axis.
#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_map>

#include "host/ops/max_first_norm.h"
#include "host/pattern_graph.h"
#include "host/patterns.h"

namespace milane::host {
namespace {

class MaxFirstNorms : PatternGraph {
 public:
  explicit MaxFirstNorms(Graph& graph) : PatternGraph(graph) {}

  void run() {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!dead_[i] && graph_.nodes[i].op == "reduce_max") norm(i);
    }
    remove_dead();
  }

 private:
  void norm(std::size_t reduce) {
    const Operand sizes = *argument(node(reduce), "x");
    const auto abs = maker(sizes);
    if (!abs || !only_reader(*abs) || !is(*abs, MicroOp::kAbs)) return;
    const Operand x = node(*abs).chain_inputs.front();
    if (x.is_constant() || x.dims != sizes.dims || x.dtype != sizes.dtype) return;
    for (const std::size_t division : readers(x)) {
      if (!is(division, MicroOp::kDiv) || node(division).chain_inputs[0].id != x.id) continue;
      norm_ = {};
      norm_.x = x;
      group_ = {*abs, reduce};
      numbers_ = node(reduce).outputs.front().dims;
      registers_ = {{node(reduce).outputs.front().id, 0}};
      next_ = 2;
      if (find_axis(reduce) && rest(division)) return emit();
    }
  }

  bool is(std::size_t i, MicroOp op) {
    return !dead_[i] && node(i).is_chain() && node(i).lowered.micro.op == op;
  }

  // From the division on.
  bool rest(std::size_t division) {
    const Operand small = node(division).outputs.front();
    if (!is_element(small)) return false;
    norm_.divisor = number(node(division).chain_inputs[1], norm_.divisor_code);
    if (norm_.divisor < 0) return false;
    group_.push_back(division);
    std::optional<std::size_t> squares, product;
    for (const std::size_t i : readers(small)) {
      if (is(i, MicroOp::kSquare) ||
          (is(i, MicroOp::kMul) && node(i).chain_inputs[0].id == node(i).chain_inputs[1].id)) {
        squares = i;
      } else if (is(i, MicroOp::kMul)) {
        product = i;
      }
    }
    if (!squares || !product || !is_element(node(*squares).outputs.front())) return false;
    const auto sum = only_reader(*squares);
    if (!sum || (node(*sum).op != "reduce_sum" && node(*sum).op != "reduce_mean")) return false;
    if (!same_axis(*sum)) return false;
    norm_.mean = node(*sum).op == "reduce_mean";
    group_.insert(group_.end(), {*squares, *sum});
    registers_[node(*sum).outputs.front().id] = 1;
    return scaled(*product, small);
  }

  bool scaled(std::size_t product, const Operand& small) {
    const auto& inputs = node(product).chain_inputs;
    norm_.factor = number(inputs[inputs[0].id == small.id ? 1 : 0], norm_.factor_code);
    norm_.y = node(product).outputs.front();
    if (norm_.factor < 0 || !is_element(norm_.y)) return false;
    group_.push_back(product);
    const auto next = only_reader(product);
    if (next && is(*next, MicroOp::kMul) && is_element(node(*next).outputs.front())) {
      const auto& last = node(*next).chain_inputs;
      const Operand& weight = last[last[0].id == norm_.y.id ? 1 : 0];
      if (last[0].id != last[1].id && along_axis(weight)) {
        norm_.weight = weight;
        norm_.y = node(*next).outputs.front();
        group_.push_back(*next);
      }
    }
    return std::all_of(group_.begin(), group_.end() - 1,
                       [&](std::size_t i) { return stays_inside(i, group_); });
  }

  bool is_element(const Operand& o) const {
    return o.dims == norm_.x.dims && o.dtype == norm_.x.dtype && o.id == graph_.root(o.id);
  }

  // The register that holds an operand, which numbers of a position alone make; -1 if others do.
  int number(const Operand& o, std::vector<Micro>& code) {
    if (const auto it = registers_.find(o.id); it != registers_.end()) return it->second;
    if (const auto value = scalar_of(o)) {
      if (next_ == MaxFirstNorm::kRegisters) return -1;
      norm_.scalars.emplace_back(*value, next_);
      return registers_[o.id] = next_++;
    }
    const auto at = maker(o);
    if (o.dims != numbers_ || o.dtype != norm_.x.dtype || !at) return -1;
    const Node& n = node(*at);
    if (!n.is_chain() || n.outputs.front().id != o.id) return -1;
    Micro m = n.lowered.micro;
    for (std::size_t k = 0; k < n.chain_inputs.size(); ++k) {
      const int reg = number(n.chain_inputs[k], code);
      if (reg < 0) return -1;
      source(m, k) = static_cast<std::uint8_t>(reg);
    }
    if (next_ == MaxFirstNorm::kRegisters) return -1;
    m.dst = static_cast<std::uint8_t>(next_);
    m.round = o.dtype == DType::kFp16;
    code.push_back(m);
    group_.push_back(*at);
    return registers_[o.id] = next_++;
  }

  // One axis, kept.
  bool find_axis(std::size_t reduce) {
    const auto axes = constant_list<std::int32_t>(node(reduce), "axes", {});
    const auto rank = static_cast<std::int64_t>(norm_.x.dims.size());
    if (!axes || axes->size() != 1 || static_cast<std::int64_t>(numbers_.size()) != rank)
      return false;
    axis_ = axes->front() < 0 ? axes->front() + rank : axes->front();
    for (std::int64_t i = 0; i < rank; ++i) {
      const std::int64_t dim = norm_.x.dims[static_cast<std::size_t>(i)];
      (i < axis_ ? norm_.outer : i == axis_ ? norm_.n : norm_.inner) *= dim;
    }
    return norm_.n > 1 && norm_.x.count() > 0;
  }
  bool same_axis(std::size_t reduce) {
    const auto axes = constant_list<std::int32_t>(node(reduce), "axes", {});
    const Operand& out = node(reduce).outputs.front();
    const auto rank = static_cast<std::int64_t>(norm_.x.dims.size());
    return axes && axes->size() == 1 && (axes->front() + rank) % rank == axis_ &&
           out.dims == numbers_ && out.dtype == norm_.x.dtype;
  }

  // All of it on the axis.
  bool along_axis(const Operand& weight) const {
    if (!is_storage_float(weight.dtype) || weight.count() != norm_.n) return false;
    for (std::size_t i = norm_.x.dims.size(), j = weight.dims.size(); j-- > 0 && i-- > 0;) {
      if (weight.dims[j] == norm_.n) return static_cast<std::int64_t>(i) == axis_;
    }
    return false;
  }

  void emit() {
    std::sort(group_.begin(), group_.end());
    Node fused;
    fused.op = label(group_);
    fused.inputs = {{"x", {norm_.x}}};
    if (norm_.weight.present() && !norm_.weight.is_constant())
      fused.inputs.emplace_back("weight", std::vector<Operand>{norm_.weight});
    fused.outputs = {norm_.y};
    fused.scratch_bytes = norm_.prepare();
    fused.run = [f = std::move(norm_)](const Exec& e) { f.run(e); };
    replace(group_, std::move(fused));
  }

  // The group that is being tried.
  MaxFirstNorm norm_;
  std::vector<std::size_t> group_;
  std::unordered_map<ValueId, int> registers_;
  Dims numbers_;  // the shape of what is one number for each position
  std::int64_t axis_ = 0;
  int next_ = 2;
};

}  // namespace

void apply_max_first_norms(Graph& graph) {
  const auto is_max = [](const Node& node) { return node.op == "reduce_max"; };
  // Who reads what is not worth finding out for programs without one.
  if (std::any_of(graph.nodes.begin(), graph.nodes.end(), is_max)) MaxFirstNorms(graph).run();
}

}  // namespace milane::host

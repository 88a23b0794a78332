// The pattern rules. A rule finds a group of nodes whose inner results nothing else reads, and puts
// one step in place of the last. Why every rule keeps the results bit for bit:
//
// * Attention (matmul, elementwise, softmax, matmul). Every element of a tiled product is one chain
//   of multiply-adds along the depth from zero, whatever the tile (gemm.h), so the order of tiles
//   does not matter. The elementwise operations run through the same instructions, the softmax has
//   the same maximum, exponentials, 16 partial sums and tree; what a node rounds is rounded. Keys
//   that a constant mask takes away are left out where a bound on the scores, checked at every
//   run, shows that their exponential is zero: then they add 0 to a sum of exponentials that is 1
//   or more, and 0 times a finite value to a sum that started at +0. A mask of zeros is not added:
//   x + 0 is x, but for the sign of a zero, which the exponential does not see.
// * Transpose around attention: elements are read and written where the transposition would have
//   taken them from or put them.
// * Elementwise operations of one operand behind a convolution or a linear layer: they run through
//   the same instructions on the rounded result, before it leaves the nearest cache. A rectifier is
//   a comparison of the result before its rounding, with what is rounded to a number below zero.
// * RMSNorm (square, sum, elementwise, two products): squares are rounded and added row by row in
//   the order of the reduction, and each product is rounded as its node rounds it. Norms that
//   divide by the largest element first have their rule, and its proof, in pattern_norm.cpp.
#include "host/patterns.h"

#include <algorithm>
#include <optional>

#include "host/ops/fused_attention.h"
#include "host/ops/fused_norm.h"
#include "host/parallel.h"
#include "host/pattern_graph.h"

namespace milane::host {
namespace {

bool is_flag(const Node& node, std::string_view name, bool value) {
  const auto list = constant_list<std::uint8_t>(node, name, {0});
  return list && list->size() == 1 && (list->front() != 0) == value;
}

class Rules : PatternGraph {
 public:
  explicit Rules(Graph& graph) : PatternGraph(graph) {}

  void run() {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (dead_[i]) continue;
      const std::string& op = graph_.nodes[i].op;
      if (op == "softmax") attention(i);
      if (op == "reduce_sum" || op == "reduce_mean") norm(i);
    }
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!dead_[i] && graph_.nodes[i].following) follow(i);
    }
    remove_dead();
  }

 private:
  // --- attention

  void attention(std::size_t softmax) {
    const Operand x = *argument(node(softmax), "x");
    const auto rank = static_cast<std::int64_t>(x.dims.size());
    const auto axis = constant_list<std::int32_t>(node(softmax), "axis", {-1});
    if (rank < 2 || !axis || (axis->front() != -1 && axis->front() != rank - 1)) return;
    FusedAttention a;
    a.round_weights = node(softmax).outputs.front().dtype == DType::kFp16;
    std::vector<std::size_t> group{softmax};
    const auto first = elementwise(softmax, a, group);
    const auto second = only_reader(softmax);
    if (!first || !second || node(*second).op != "matmul") return;
    group.insert(group.begin(), *first);
    group.push_back(*second);
    if (!products(*first, *second, a, group) || !a.fits()) return;
    find_mask(a);
    emit(std::move(a), group);
  }

  // The elementwise nodes in front of the softmax, up to the product that makes the scores.
  std::optional<std::size_t> elementwise(std::size_t softmax, FusedAttention& a,
                                         std::vector<std::size_t>& group) {
    std::vector<std::pair<std::size_t, std::size_t>> steps;  // node, and which operand is the score
    Operand value = *argument(node(softmax), "x");
    for (;;) {
      const auto at = maker(value);
      if (!at || !only_reader(*at)) return std::nullopt;
      if (node(*at).op == "matmul") {
        a.round_scores = node(*at).outputs.front().dtype == DType::kFp16;
        for (auto it = steps.rbegin(); it != steps.rend(); ++it) {
          if (!add_step(node(it->first), it->second, a)) return std::nullopt;
          group.insert(group.end() - 1, it->first);
        }
        return at;
      }
      if (!node(*at).is_chain() || !is_storage_float(node(*at).outputs.front().dtype))
        return std::nullopt;
      const auto which = score_operand(*at, value.count());
      if (!which || value.dims.back() != node(*at).outputs.front().dims.back()) return std::nullopt;
      steps.emplace_back(*at, *which);
      value = node(*at).chain_inputs[*which];
    }
  }

  // The operand that leads to the product.
  std::optional<std::size_t> score_operand(std::size_t i, std::int64_t count) {
    const auto& inputs = node(i).chain_inputs;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const auto at = maker(inputs[k]);
      if (!at || inputs[k].count() != count || inputs[k].dims != node(i).outputs.front().dims ||
          !only_reader(*at)) {
        continue;
      }
      if (node(*at).op == "matmul" || node(*at).is_chain()) return k;
    }
    return std::nullopt;
  }

  static bool add_step(const Node& n, std::size_t score, FusedAttention& a) {
    const auto at = static_cast<std::uint8_t>(a.code.empty() ? 0 : a.code.back().dst);
    auto next = static_cast<int>(1 + a.code.size() + a.loads.size());
    Micro m = n.lowered.micro;
    const Dims& dims = n.outputs.front().dims;
    for (std::size_t k = 0; k < n.chain_inputs.size(); ++k) {
      if (k == score) {
        source(m, k) = at;
        continue;
      }
      const Operand& o = n.chain_inputs[k];
      if (!is_storage_float(o.dtype)) return false;
      ScoreLoad load{o, next, o.count() == 1, {}, {}, 0};
      const Dims own = contiguous_strides(o.dims);
      for (std::size_t d = 0; d < dims.size(); ++d) {
        const std::size_t front = dims.size() - o.dims.size();
        const std::int64_t stride = d < front || o.dims[d - front] == 1 ? 0 : own[d - front];
        if (d + 1 == dims.size()) {
          load.key = stride;
        } else {
          load.dims.push_back(dims[d]);
          load.strides.push_back(stride);
        }
      }
      a.loads.push_back(std::move(load));
      source(m, k) = static_cast<std::uint8_t>(next++);
    }
    m.dst = static_cast<std::uint8_t>(next++);
    m.round = n.outputs.front().dtype == DType::kFp16;
    a.code.push_back(m);
    return next <= FusedAttention::kRegisters;
  }

  // Shapes and strides of both products; takes in transpositions around them.
  bool products(std::size_t first, std::size_t second, FusedAttention& a,
                std::vector<std::size_t>& group) {
    const Operand q = *argument(node(first), "x"), k = *argument(node(first), "y");
    const Operand p = *argument(node(second), "x"), v = *argument(node(second), "y");
    const Operand y = node(second).outputs.front();
    const std::size_t rank = y.dims.size();
    for (const Operand& o : {q, k, p, v}) {
      if (o.dims.size() != rank || rank < 2 || o.is_constant() || !is_storage_float(o.dtype))
        return false;
    }
    if (!is_flag(node(first), "transpose_x", false) || !is_flag(node(second), "transpose_x", false))
      return false;
    const bool tk = is_flag(node(first), "transpose_y", true);
    const bool tv = is_flag(node(second), "transpose_y", true);
    if (!tk && !is_flag(node(first), "transpose_y", false)) return false;
    if (!tv && !is_flag(node(second), "transpose_y", false)) return false;
    a.rows = q.dims[rank - 2];
    a.depth = q.dims[rank - 1];
    a.keys = p.dims[rank - 1];
    a.width = y.dims[rank - 1];
    a.batch_dims = Dims(y.dims.begin(), y.dims.end() - 2);
    // The second product must see the scores as the first left them, batch for batch; products of
    // few rows or of one column add in another order.
    const Dims scores = node(first).outputs.front().dims;
    if (scores != p.dims || Dims(p.dims.begin(), p.dims.end() - 2) != a.batch_dims) return false;
    if (!is_tiled({a.rows, a.keys, a.depth}) || !is_tiled({a.rows, a.width, a.keys})) return false;
    a.q = read(q, false, group);
    a.k = read(k, !tk, group);
    a.v = read(v, tv, group);
    a.y = written(second, group);
    return a.y.row == 1 || a.y.column == 1;
  }

  // An operand of the products: rows and columns, exchanged where `turned`; where only the product
  // reads what a transposition makes, the elements are taken from where that takes them.
  BatchedOperand read(const Operand& o, bool turned, std::vector<std::size_t>& group) {
    Operand from = o;
    Dims strides = contiguous_strides(o.dims);
    if (const auto at = maker(o); at && node(*at).op == "transpose" && only_reader(*at) &&
                                  node(*at).outputs.front().id == o.id) {
      if (const auto perm = permutation(*at)) {
        from = *argument(node(*at), "x");
        const Dims own = contiguous_strides(from.dims);
        for (std::size_t i = 0; i < strides.size(); ++i)
          strides[i] = own[static_cast<std::size_t>((*perm)[i])];
        group.insert(group.begin(), *at);
      }
    }
    for (std::size_t i = 0; i < strides.size(); ++i) strides[i] = o.dims[i] == 1 ? 0 : strides[i];
    BatchedOperand b{from, Dims(strides.begin(), strides.end() - 2), strides.end()[-2],
                     strides.back()};
    if (turned) std::swap(b.row, b.column);
    return b;
  }

  // The result, or what a transposition that alone reads it makes of it.
  BatchedOperand written(std::size_t second, std::vector<std::size_t>& group) {
    const Operand y = node(second).outputs.front();
    const Dims own = contiguous_strides(y.dims);
    BatchedOperand plain{y, Dims(own.begin(), own.end() - 2), own.end()[-2], own.back()};
    const auto next = only_reader(second);
    if (!next || node(*next).op != "transpose") return plain;
    const Operand in = *argument(node(*next), "x"), out = node(*next).outputs.front();
    const auto perm = permutation(*next);
    if (!perm || in.dims != y.dims) return plain;
    const Dims to = contiguous_strides(out.dims);
    Dims strides(y.dims.size());
    for (std::size_t i = 0; i < to.size(); ++i)
      strides[static_cast<std::size_t>((*perm)[i])] = to[i];
    if (strides.end()[-2] != 1 && strides.back() != 1) return plain;
    group.push_back(*next);
    return {out, Dims(strides.begin(), strides.end() - 2), strides.end()[-2], strides.back()};
  }

  std::optional<Dims> permutation(std::size_t transpose) {
    const auto rank = static_cast<std::int64_t>(node(transpose).outputs.front().dims.size());
    auto perm = constant_list<std::int32_t>(node(transpose), "perm", {});
    if (!perm || static_cast<std::int64_t>(perm->size()) != rank) return std::nullopt;
    for (std::int64_t& axis : *perm) axis += axis < 0 ? rank : 0;
    return perm;
  }

  // A constant mask added last, behind products with constants.
  static void find_mask(FusedAttention& a) {
    if (a.code.empty() || a.code.back().op != MicroOp::kAdd) return;
    const auto load_of = [&](std::uint8_t reg) {
      return std::find_if(a.loads.begin(), a.loads.end(), [&](auto& l) { return l.reg == reg; });
    };
    auto mask = load_of(a.code.back().b);
    if (mask == a.loads.end()) mask = load_of(a.code.back().a);
    if (mask == a.loads.end() || mask->scalar || !mask->operand.is_constant()) return;
    if (mask->key == 0 || mask->row() == 0) return;
    for (std::size_t i = 0; i + 1 < mask->strides.size(); ++i) {
      if (mask->strides[i] != 0) return;
    }
    for (std::size_t i = 0; i + 1 < a.code.size(); ++i) {
      const Micro& m = a.code[i];
      const auto factor = load_of(m.b);
      const auto value = factor == a.loads.end() ? std::nullopt : scalar_of(factor->operand);
      if (!value || (m.op != MicroOp::kMul && m.op != MicroOp::kDiv)) return;
      a.scale *= std::abs(m.op == MicroOp::kMul ? *value : 1 / *value);
      a.peak = std::max(a.peak, a.scale);
    }
    a.mask_load = static_cast<int>(mask - a.loads.begin());
    a.learn_mask();
  }

  void emit(FusedAttention a, const std::vector<std::size_t>& group) {
    Node fused;
    fused.op = label(group);
    fused.inputs = {{"query", {a.q.operand}}, {"key", {a.k.operand}}, {"value", {a.v.operand}}};
    std::vector<Operand> others;
    for (const ScoreLoad& load : a.loads) others.push_back(load.operand);
    fused.inputs.emplace_back("mask", std::move(others));
    fused.outputs = {a.y.operand};
    const int slots = num_threads();
    fused.scratch_bytes = static_cast<std::size_t>(slots) * a.slot_bytes();
    fused.run = [a = std::move(a), slots](const Exec& e) {
      a.run(e, {e.scratch<std::byte>(Scratch{}), slots});
    };
    replace(group, std::move(fused));
  }

  // --- elementwise operations of one operand, done by the step that makes it

  void follow(std::size_t first) {
    std::vector<std::size_t> group{first};
    const Operand made = node(first).outputs.front();
    Operand value = made;
    std::vector<Micro>& code = node(first).following->code;
    while (static_cast<int>(code.size()) < Following::kSteps) {
      const auto next = only_reader(group.back());
      if (!next || !node(*next).is_chain() || node(*next).chain_inputs.size() != 1) break;
      const Operand& y = node(*next).outputs.front();
      if (node(*next).chain_inputs.front().id != value.id || y.dtype != value.dtype) break;
      Micro m = node(*next).lowered.micro;
      m.a = static_cast<std::uint8_t>(code.size());
      m.dst = static_cast<std::uint8_t>(code.size() + 1);
      m.round = y.dtype == DType::kFp16;
      code.push_back(m);
      group.push_back(*next);
      value = y;
    }
    if (group.size() == 1) return;
    Node fused = node(first);
    fused.op = label(group);
    fused.outputs = {value};
    // The step writes where it always did: there the last result lies now.
    graph_.at(made.id).root = graph_.root(value.id);
    replace(group, std::move(fused));
  }

  // --- RMSNorm

  void norm(std::size_t reduce) {
    FusedNorm f;
    std::vector<std::size_t> group{reduce};
    const Operand squares = *argument(node(reduce), "x");
    const auto square = maker(squares);
    if (!square || !only_reader(*square) || !is_square(node(*square))) return;
    f.x = node(*square).chain_inputs.front();
    if (f.x.is_constant() || f.x.dtype != squares.dtype || f.x.dims != squares.dims) return;
    group.insert(group.begin(), *square);
    if (!reduced_axis(reduce, f)) return;
    std::size_t last = reduce;
    for (;;) {
      const auto next = only_reader(last);
      if (!next || !node(*next).is_chain()) return;
      if (node(*next).outputs.front().dims == f.x.dims) {
        if (!scaled(last, *next, f, group)) return;
        break;
      }
      if (node(*next).outputs.front().dims != node(reduce).outputs.front().dims ||
          !add_scalar_step(last, *next, f)) {
        return;
      }
      group.push_back(*next);
      last = *next;
    }
    Node fused;
    fused.op = label(group);
    fused.inputs = {{"x", {f.x}}};
    fused.outputs = {f.y};
    fused.run = [f = std::move(f)](const Exec& e) { f.run(e); };
    replace(group, std::move(fused));
  }

  static bool is_square(const Node& n) {
    if (!n.is_chain() || !is_storage_float(n.outputs.front().dtype)) return false;
    if (n.lowered.micro.op == MicroOp::kSquare) return true;
    return n.lowered.micro.op == MicroOp::kMul && n.chain_inputs[0].id == n.chain_inputs[1].id;
  }

  // One axis, kept, with something behind it: then rows are added up one after the other.
  bool reduced_axis(std::size_t reduce, FusedNorm& f) {
    const auto axes = constant_list<std::int32_t>(node(reduce), "axes", {});
    const auto rank = static_cast<std::int64_t>(f.x.dims.size());
    const Dims& out = node(reduce).outputs.front().dims;
    if (!axes || axes->size() != 1 || static_cast<std::int64_t>(out.size()) != rank) return false;
    const std::int64_t axis = axes->front() < 0 ? axes->front() + rank : axes->front();
    for (std::int64_t i = 0; i < rank; ++i) {
      const std::int64_t dim = f.x.dims[static_cast<std::size_t>(i)];
      (i < axis ? f.outer : i == axis ? f.n : f.inner) *= dim;
    }
    f.mean = node(reduce).op == "reduce_mean";
    f.round_sum = node(reduce).outputs.front().dtype == DType::kFp16;
    return f.n > 1 && f.inner > 1 && out[static_cast<std::size_t>(axis)] == 1;
  }

  // An elementwise node over the sums whose other operands are constant numbers.
  bool add_scalar_step(std::size_t last, std::size_t next, FusedNorm& f) {
    const Node& n = node(next);
    int reg = static_cast<int>(1 + f.code.size() + f.scalars.size());
    Micro m = n.lowered.micro;
    for (std::size_t k = 0; k < n.chain_inputs.size(); ++k) {
      if (n.chain_inputs[k].id == node(last).outputs.front().id) {
        source(m, k) = static_cast<std::uint8_t>(f.code.empty() ? 0 : f.code.back().dst);
        continue;
      }
      const auto value = scalar_of(n.chain_inputs[k]);
      if (!value) return false;
      f.scalars.emplace_back(*value, reg);
      source(m, k) = static_cast<std::uint8_t>(reg++);
    }
    m.dst = static_cast<std::uint8_t>(reg++);
    m.round = n.outputs.front().dtype == DType::kFp16;
    if (!is_storage_float(n.outputs.front().dtype)) return false;
    f.code.push_back(m);
    return reg <= FusedNorm::kRegisters;
  }

  // x times the factor, and where a constant vector along the axis follows, times that.
  bool scaled(std::size_t last, std::size_t product, FusedNorm& f,
              std::vector<std::size_t>& group) {
    const ValueId factor = node(last).outputs.front().id;
    const auto& inputs = node(product).chain_inputs;
    if (node(product).lowered.micro.op != MicroOp::kMul) return false;
    const std::size_t other = inputs[0].id == factor ? 1 : 0;
    if (inputs[1 - other].id != factor || inputs[other].id != f.x.id) return false;
    f.y = node(product).outputs.front();
    if (f.y.dtype != f.x.dtype) return false;
    group.push_back(product);
    const auto next = only_reader(product);
    if (next && node(*next).is_chain() && node(*next).lowered.micro.op == MicroOp::kMul) {
      const auto& last_inputs = node(*next).chain_inputs;
      const Operand& weight = last_inputs[last_inputs[0].id == f.y.id ? 1 : 0];
      if (last_inputs[0].id != last_inputs[1].id && node(*next).outputs.front().dims == f.x.dims &&
          node(*next).outputs.front().dtype == f.x.dtype && along_axis(weight, f)) {
        auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(f.n));
        to_floats(values->data(), weight.dtype, weight.constant, f.n);
        f.weight = std::move(values);
        f.y = node(*next).outputs.front();
        group.push_back(*next);
      }
    }
    return true;
  }

  static bool along_axis(const Operand& weight, const FusedNorm& f) {
    if (!weight.is_constant() || !is_storage_float(weight.dtype) || weight.count() != f.n)
      return false;
    // Aligned at the back: all of it on the axis, so behind it there are only ones.
    std::int64_t behind = 1;
    for (std::size_t i = f.x.dims.size(), j = weight.dims.size(); j-- > 0 && i-- > 0;) {
      if (weight.dims[j] == f.n) return behind == f.inner;
      behind *= f.x.dims[i];
    }
    return false;
  }
};

}  // namespace

void apply_patterns(Graph& graph) {
  apply_max_first_norms(graph);
  Rules(graph).run();
}

}  // namespace milane::host

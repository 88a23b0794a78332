// What pattern rules know of a graph: who makes a value, who reads it, and how a group of nodes
// becomes one.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/graph.h"
#include "host/ops/operands.h"

namespace milane::host {

inline const Operand* argument(const Node& node, std::string_view name) {
  for (const auto& [key, operands] : node.inputs) {
    if (key == name && !operands.empty()) return &operands.front();
  }
  return nullptr;
}

// A constant argument; `fallback` where it is absent, nothing where it is no constant.
template <class T>
std::optional<Dims> constant_list(const Node& node, std::string_view name, Dims fallback) {
  const Operand* const o = argument(node, name);
  if (o == nullptr) return fallback;
  if (!o->is_constant() || dtype_size(o->dtype) != sizeof(T)) return std::nullopt;
  const T* const values = reinterpret_cast<const T*>(o->constant);
  return Dims(values, values + o->count());
}

inline std::optional<float> scalar_of(const Operand& o) {
  if (!o.is_constant() || o.count() != 1 || !is_storage_float(o.dtype)) return std::nullopt;
  float value;
  to_floats(&value, o.dtype, o.constant, 1);
  return value;
}

inline std::uint8_t& source(Micro& m, std::size_t i) { return i == 0 ? m.a : i == 1 ? m.b : m.c; }

class PatternGraph {
 public:
  explicit PatternGraph(Graph& graph)
      : graph_(graph),
        dead_(graph.nodes.size(), false),
        producer_(graph.values.size(), kNobody),
        first_reader_(graph.values.size() + 1, 0),
        returned_(graph.values.size(), false) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const Operand& o : graph_.nodes[i].outputs) producer_[index(o.id)] = i;
    }
    for (const auto& [name, id] : graph_.outputs) returned_[index(graph_.root(id))] = true;
    find_readers();
  }

 protected:
  Node& node(std::size_t i) { return graph_.nodes[i]; }

  // The node that makes the operand, if it has one result.
  std::optional<std::size_t> maker(const Operand& o) const {
    const std::size_t i = producer_[index(graph_.root(o.id))];
    if (i == kNobody || dead_[i] || graph_.nodes[i].outputs.size() != 1) return std::nullopt;
    return i;
  }

  // The nodes that read the value, once for each time.
  std::span<const std::size_t> readers(const Operand& o) const {
    const std::size_t id = index(graph_.root(o.id));
    return {readers_.data() + first_reader_[id], readers_.data() + first_reader_[id + 1]};
  }

  // The node that alone reads the node's result, and that once.
  std::optional<std::size_t> only_reader(std::size_t i) const {
    const Operand& o = graph_.nodes[i].outputs.front();
    if (o.id != graph_.root(o.id) || returned_[index(o.id)]) return std::nullopt;
    const auto all = readers(o);
    if (all.size() != 1 || dead_[all.front()]) return std::nullopt;
    return all.front();
  }

  // Whether nothing outside of the group reads the node's result.
  bool stays_inside(std::size_t i, const std::vector<std::size_t>& group) const {
    const Operand& o = graph_.nodes[i].outputs.front();
    const auto all = readers(o);
    return o.id == graph_.root(o.id) && !returned_[index(o.id)] &&
           std::all_of(all.begin(), all.end(), [&](std::size_t r) {
             return std::find(group.begin(), group.end(), r) != group.end();
           });
  }

  // Puts the step in place of the last of these nodes.
  void replace(const std::vector<std::size_t>& group, Node fused) {
    const std::size_t last = *std::max_element(group.begin(), group.end());
    for (std::size_t i : group) dead_[i] = true;
    dead_[last] = false;
    fused.name = node(last).name;
    fused.line = node(last).line;
    for (const Operand& o : fused.outputs) producer_[index(graph_.root(o.id))] = last;
    node(last) = std::move(fused);
  }

  std::string label(const std::vector<std::size_t>& group) {
    std::string text;
    for (std::size_t i : group) text += (text.empty() ? "" : "+") + node(i).op;
    return text;
  }

  void remove_dead() {
    std::size_t next = 0;
    std::erase_if(graph_.nodes, [&](const Node&) { return dead_[next++]; });
  }

  static constexpr std::size_t kNobody = std::numeric_limits<std::size_t>::max();
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  // Sorts the readings by value: counted, then placed.
  void find_readers() {
    const auto for_each = [&](auto&& body) {
      for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
        for (const auto& [name, operands] : graph_.nodes[i].inputs) {
          for (const Operand& o : operands) body(index(graph_.root(o.id)), i);
        }
      }
    };
    for_each([&](std::size_t value, std::size_t) { ++first_reader_[value + 1]; });
    std::partial_sum(first_reader_.begin(), first_reader_.end(), first_reader_.begin());
    readers_.resize(first_reader_.back());
    std::vector<std::size_t> next(first_reader_.begin(), first_reader_.end());
    for_each([&](std::size_t value, std::size_t i) { readers_[next[value]++] = i; });
  }

  Graph& graph_;
  std::vector<bool> dead_;                 // by node
  std::vector<std::size_t> producer_;      // the node, by value
  std::vector<std::size_t> first_reader_;  // into readers_, by value; one more at the end
  std::vector<std::size_t> readers_;       // nodes
  std::vector<bool> returned_;             // by value
};

}  // namespace milane::host

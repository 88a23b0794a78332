// What pattern rules know of a graph: who makes a value, who reads it, and how a group of nodes
// becomes one.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
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
std::optional<std::vector<std::int64_t>> constant_list(const Node& node, std::string_view name,
                                                       std::vector<std::int64_t> fallback) {
  const Operand* const o = argument(node, name);
  if (o == nullptr) return fallback;
  if (!o->is_constant() || dtype_size(o->dtype) != sizeof(T)) return std::nullopt;
  const T* const values = reinterpret_cast<const T*>(o->constant);
  return std::vector<std::int64_t>(values, values + o->count());
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
  explicit PatternGraph(Graph& graph) : graph_(graph), dead_(graph.nodes.size(), false) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const Operand& o : graph_.nodes[i].outputs) producer_[o.id] = i;
      for (const auto& [name, operands] : graph_.nodes[i].inputs) {
        for (const Operand& o : operands) readers_[graph_.root(o.id)].push_back(i);
      }
    }
    for (const auto& [name, id] : graph_.outputs) returned_.insert(graph_.root(id));
  }

 protected:
  Node& node(std::size_t i) { return graph_.nodes[i]; }

  // The node that makes the operand, if it has one result.
  std::optional<std::size_t> maker(const Operand& o) const {
    const auto it = producer_.find(graph_.root(o.id));
    if (it == producer_.end() || dead_[it->second]) return std::nullopt;
    if (graph_.nodes[it->second].outputs.size() != 1) return std::nullopt;
    return it->second;
  }

  // The nodes that read the value, once for each time.
  const std::vector<std::size_t>& readers(const Operand& o) const {
    static const std::vector<std::size_t> kNone;
    const auto it = readers_.find(graph_.root(o.id));
    return it == readers_.end() ? kNone : it->second;
  }

  // The node that alone reads the node's result, and that once.
  std::optional<std::size_t> only_reader(std::size_t i) const {
    const ValueId id = graph_.nodes[i].outputs.front().id;
    const auto it = readers_.find(id);
    if (returned_.contains(id) || it == readers_.end() || it->second.size() != 1)
      return std::nullopt;
    if (dead_[it->second.front()]) return std::nullopt;
    return it->second.front();
  }

  // Whether nothing outside of the group reads the node's result.
  bool stays_inside(std::size_t i, const std::vector<std::size_t>& group) const {
    const Operand& o = graph_.nodes[i].outputs.front();
    const auto& all = readers(o);
    return o.id == graph_.root(o.id) && !returned_.contains(o.id) &&
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
    for (const Operand& o : fused.outputs) producer_[graph_.root(o.id)] = last;
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

  Graph& graph_;
  std::vector<bool> dead_;
  std::unordered_map<ValueId, std::size_t> producer_;
  std::unordered_map<ValueId, std::vector<std::size_t>> readers_;
  std::unordered_set<ValueId> returned_;
};

}  // namespace milane::host

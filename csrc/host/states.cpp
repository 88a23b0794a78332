// Which reads of a state may look at its memory, and which need a copy.
#include "host/graph.h"

namespace milane::host {
namespace {

// The first node behind `after` that overwrites the state; past the end when none does.
std::size_t next_write(const Graph& graph, ValueId state, std::size_t after) {
  for (std::size_t i = after + 1; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].writes_state == state) return i;
  }
  return graph.nodes.size() + 1;
}

// The last node that reads the value, through whatever views; the end when it is returned.
std::size_t last_use(const Graph& graph, ValueId value) {
  for (const auto& [name, id] : graph.outputs) {
    if (graph.root(id) == value) return graph.nodes.size();
  }
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    for (const auto& [arg, list] : graph.nodes[i].inputs) {
      for (const Operand& o : list) {
        if (graph.root(o.id) == value) return i;
      }
    }
  }
  return 0;
}

}  // namespace

void settle_state_reads(Graph& graph) {
  auto& nodes = graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].reads_state < 0) continue;
    const ValueId state = nodes[i].reads_state, value = nodes[i].outputs.front().id;
    if (last_use(graph, value) > next_write(graph, state, i)) continue;
    for (auto& v : graph.values) {
      if (v.root == value) v.root = state;
    }
    nodes[i].outputs.clear();  // marks it for removal
  }
  std::erase_if(nodes, [](const Node& n) { return n.reads_state >= 0 && n.outputs.empty(); });
}

}  // namespace milane::host

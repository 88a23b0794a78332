// The program as planning sees it: values with storage, nodes with resolved arguments. Lowering
// (lower.cpp) makes it from MIL, folding constants on the way; plan.cpp turns it into steps.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "host/baking.h"
#include "host/chain.h"
#include "host/op.h"
#include "host/plan.h"
#include "mil/infer.h"

namespace milane::host {

struct ValueInfo {
  mil::Type type;       // with concrete dims; the program's dtype
  Operand operand;      // storage dtype; id is this value's
  mil::ConstView view;  // valid when the operand is constant (or a string)
  bool constant = false;
  ValueId root = -1;  // the value whose bytes these are: itself unless a view
  Slot::Kind kind = Slot::Kind::kArena;
  std::size_t port = 0;  // for inputs, outputs, states
};

struct Node {
  std::string op, name;
  int line = 0;
  std::vector<std::pair<std::string_view, std::vector<Operand>>> inputs;  // by argument
  std::vector<Operand> outputs;
  RunFn run;        // empty for a node that may join a chain
  Lowered lowered;  // chain nodes
  std::vector<Operand> chain_inputs;
  std::size_t scratch_bytes = 0;
  std::shared_ptr<Following> following;  // what the step does on its result; null where it cannot
  ValueId writes_state = -1;             // root of the state this node overwrites
  ValueId reads_state = -1;              // a read_state that became a copy

  bool is_chain() const { return !run; }
};

struct Graph {
  std::deque<ValueInfo> values;  // stable addresses: arguments point at the views
  std::vector<Node> nodes;
  std::vector<ValueId> input_ids, state_ids;
  std::vector<std::pair<std::string, ValueId>> outputs;
  std::vector<std::shared_ptr<const void>> owners;

  ValueId root(ValueId id) const { return values[static_cast<std::size_t>(id)].root; }
  ValueInfo& at(ValueId id) { return values[static_cast<std::size_t>(id)]; }
  const ValueInfo& at(ValueId id) const { return values[static_cast<std::size_t>(id)]; }
};

// Lowering makes every read_state a copy; this turns those into views whose value is not used after
// the state's next write.
void settle_state_reads(Graph& graph);

// By place in the function: whether a result reaches an output or a state.
std::vector<bool> live_operations(const mil::Function& function);

// Reads of states are copies, which settle_state_reads() makes views.
Graph lower(const mil::Program& program, const mil::Function& function, const WeightSet& weights,
            const CompileOptions& options, Baking& baking);

}  // namespace milane::host

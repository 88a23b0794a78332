// What the host engine runs: steps over values whose places in memory are decided once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "host/baking.h"
#include "host/op.h"

namespace milane::host {

// One step: an operation, or a chain of elementwise ones.
struct Step {
  RunFn run;
  std::string op;    // "conv", or "mul+add+silu" for a chain
  std::string name;  // of the (last) result
  int line = 0;
};

// Where a value's bytes are.
struct Slot {
  enum class Kind : std::uint8_t { kConstant, kInput, kOutput, kState, kArena };
  Kind kind = Kind::kArena;
  const std::byte* constant = nullptr;
  std::size_t index = 0;  // port number, or offset in the arena
};

struct Plan {
  std::string function;
  std::vector<Port> inputs, outputs, states;
  std::vector<ValueId> input_ids, output_ids, state_ids;
  std::vector<Slot> slots;  // by ValueId; views carry the slot of what they view
  std::vector<Step> steps;
  std::size_t arena_bytes = 0;
  std::size_t scratch_bytes = 0;
  std::vector<std::shared_ptr<const void>> owners;  // of constants
};

// Plans one function for concrete input shapes. The program must have been verified.
// Throws kUnsupportedOp for an operation the host engine lacks, kCompile for shapes that only the
// data decide, and what the weights' lookup throws; every message has line and column.
// Baking::Mismatch when `baking` does not fit.
std::shared_ptr<const Plan> make_plan(const mil::Program& program, const mil::Function& function,
                                      const WeightSet& weights, const CompileOptions& options,
                                      Baking& baking);

}  // namespace milane::host

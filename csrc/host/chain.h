// Elementwise chains: several operations in one pass over memory, bit for bit what they give one by
// one, because every operation, alone or fused, runs through the same instructions.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "host/kernels/micro.h"
#include "host/op.h"

namespace milane::host {

// What an elementwise op function returns: its instruction and the names of its operands.
struct Lowered {
  Micro micro;
  std::array<std::string_view, 3> args{"x", {}, {}};
};
using LowerFn = Lowered (*)(const OpSite&);

// Whether these operands can live in float registers: integer arithmetic cannot (24 bits), casts
// between an integer and a float type can.
bool is_chainable(const Lowered& op, const std::vector<Operand>& ins, const Operand& out);

// Collects operations of one output shape, then makes the step that runs them.
class ChainBuilder {
 public:
  explicit ChainBuilder(Dims dims) : dims_(std::move(dims)) {}

  const Dims& dims() const { return dims_; }
  bool empty() const { return code_.empty(); }
  // False when the chain is full.
  bool add(const Lowered& op, const std::vector<Operand>& ins, const Operand& out);
  // The step. `is_live(id)` tells which results are read after the chain and must be stored.
  RunFn build(const std::function<bool(ValueId)>& is_live);
  // Loaded operands and, after build(), stored results.
  const std::vector<Operand>& loads() const { return loads_; }
  const std::vector<Operand>& stores() const { return stores_; }

 private:
  int register_of(const Operand& operand);

  Dims dims_;
  std::vector<Micro> code_;
  std::vector<Operand> loads_, results_, stores_;
  std::vector<std::pair<ValueId, int>> registers_;
  int next_register_ = 0;
};

// `epsilon` of log, rsqrt and inverse. A default takes x's type, as coremltools makes it: 1e-45 and
// 1e-12 are 0 in fp16.
float epsilon_of(const OpSite& site);

// One integer operation, exact in 64 bits and wrapped to the result's type (no chain).
RunFn integer_elementwise(const Lowered& op, const std::vector<Operand>& ins, const Operand& out);

}  // namespace milane::host

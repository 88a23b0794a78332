#pragma once

#include <cstdint>
#include <vector>

#include "host/gemm.h"
#include "host/kernels/micro.h"
#include "host/op.h"

namespace milane::host {

// A matrix for every batch: strides in elements.
struct BatchedOperand {
  Operand operand;
  Dims batch;  // along FusedAttention::batch_dims
  std::int64_t row = 0, column = 1;
};

// An operand of the elementwise operations: a scalar, or a tensor that broadcasts to the scores,
// rows over `dims`, keys `key` apart.
struct ScoreLoad {
  Operand operand;
  int reg = 0;
  bool scalar = false;
  Dims dims, strides;
  std::int64_t key = 0;

  std::int64_t row() const { return strides.back(); }
};

// softmax(f(q k^T)) v with f elementwise, for every batch, as separate operations compute it bit
// for bit; scores exist for one tile's queries at a time. Filled in by patterns.cpp.
struct FusedAttention {
  std::int64_t rows = 0, keys = 0, depth = 0, width = 0;
  Dims batch_dims;
  BatchedOperand q, k, v, y;  // k: keys x depth; y: row or column is 1
  bool round_scores = false, round_weights = false;

  // f: register 0 holds the product, the last instruction makes the result.
  static constexpr int kRegisters = 10;
  std::vector<Micro> code;
  std::vector<ScoreLoad> loads;

  // What a constant mask that is added last tells: keys that can have weight, for every mr of its
  // rows, and groups of 16 keys where it adds zero, for every tile. Empty when nothing is known.
  std::int64_t mask_rows = 0;
  int mask_load = -1;
  float scale = 1,
        peak = 1;  // |f before the mask| <= scale |product|, no step above peak |product|
  std::vector<std::int64_t> key_limits;
  std::vector<std::uint8_t> is_zero;

  // Whether the tiles fit it: none crosses from one row of a load's outer axes into the next.
  bool fits() const;
  void learn_mask();
  std::size_t slot_bytes() const;
  void run(const Exec& e, const Workspace& workspace) const;
};

}  // namespace milane::host

#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "host/kernels/micro.h"
#include "host/op.h"

namespace milane::host {

// x * f(sum of x^2) * weight along the middle of outer x n x inner, in two passes, as separate
// operations compute it bit for bit. Filled in by patterns.cpp.
struct FusedNorm {
  std::int64_t outer = 1, n = 1, inner = 1;
  Operand x, y;
  bool mean = false, round_sum = false;
  std::shared_ptr<const std::vector<float>> weight;  // [n], or null

  // f: register 0 holds the sum, the last instruction makes the factor.
  static constexpr int kRegisters = 10;
  std::vector<Micro> code;
  std::vector<std::pair<float, int>> scalars;  // and the registers that hold them

  void run(const Exec& e) const;
};

}  // namespace milane::host

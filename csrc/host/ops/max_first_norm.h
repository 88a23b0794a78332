#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "host/kernels/micro.h"
#include "host/op.h"

namespace milane::host {

// small * f(m, sum of small^2) * weight along the middle of outer x n x inner, where small is
// x / g(m) and m the largest |x|; rounded as separate operations round. Filled in by
// pattern_norm.cpp.
struct MaxFirstNorm {
  std::int64_t outer = 1, n = 1, inner = 1;
  Operand x, y, weight;  // weight [n], or absent
  bool mean = false;
  std::shared_ptr<const std::vector<float>> constant_weight;
  Scratch weight_scratch;  // of one that is known only at run time

  // g reads register 0, the largest; f reads register 1 too, the sum.
  static constexpr int kRegisters = 16;
  std::vector<Micro> divisor_code, factor_code;
  int divisor = 0, factor = 0;                 // the registers that they end in
  std::vector<std::pair<float, int>> scalars;  // and the registers that hold them

  // Takes over a constant weight; says how much scratch a run needs.
  std::size_t prepare();
  void run(const Exec& e) const;
};

}  // namespace milane::host

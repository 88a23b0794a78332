// What the reduce_* operations share: which elements make which result, and the int32 forms.
#pragma once

#include <cstdint>

#include "host/ops/rows.h"

namespace milane::host {

// x as kept positions x reduced positions x a run along the innermost axes, which is either
// reduced (each row gives a number) or kept (rows are added up).
struct Reduction {
  AxisWalk kept, reduced;
  std::int64_t run = 1;
  bool run_reduced = true;

  std::int64_t outputs() const { return kept.count() * (run_reduced ? 1 : run); }
  std::int64_t length() const { return reduced.count() * (run_reduced ? run : 1); }
};

// Reads x, axes and the output's shape.
Reduction plan_reduction(const OpSite& site);

// int32 accumulates in 64 bits. Rare and small, so one plain loop.
struct IntOp {
  std::int64_t start;
  std::int64_t (*step)(std::int64_t, std::int64_t);
  double (*finish)(std::int64_t, double length);  // null: the accumulator itself, wrapped
};

void reduce_ints(const Reduction& r, const IntOp& op, const std::int32_t* x, std::int32_t* y);
void log_sum_exp_ints(const Reduction& r, const std::int32_t* x, std::int32_t* y);

}  // namespace milane::host

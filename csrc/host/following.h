// Elementwise operations that a step does on its results while they are in the nearest cache.
#pragma once

#include <vector>

#include "core/dtype.h"
#include "host/kernels/kernels.h"
#include "host/kernels/micro.h"

namespace milane::host {

// Each takes the result of the one before and nothing else: step i reads register i and writes
// register i + 1. Patterns fill it in after the step was made, so that op functions share it.
struct Following {
  static constexpr int kSteps = kFollowing;
  std::vector<Micro> code;

  int steps() const { return static_cast<int>(code.size()); }
  // y[count], halves or floats, in place.
  void run(DType dtype, void* y, std::int64_t count) const;
};

}  // namespace milane::host

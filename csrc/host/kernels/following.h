// Elementwise operations on the results of a tile, before they are stored: step i of them reads
// register i and writes register i + 1.
#pragma once

#include "host/kernels/kernels.h"
#include "host/kernels/micro.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

void chain(const Micro*, int, float* const*, int);

// One rectifier alone is done on the way out.
MILANE_INLINE bool is_relu(const Micro* after, int steps) {
  return steps == 1 && after->op == MicroOp::kRelu;
}
// What is rounded to a half below 0: -2^-25 is still rounded to -0, which relu keeps.
template <class T>
MILANE_INLINE Vec rectify(Vec v) {
  return v < splat(sizeof(T) == 2 ? -0x1p-25f : 0.0f) ? Vec{} : v;
}

// Runs the steps over `count` floats of space[0], rounded already; returns where the results are.
template <int size>
MILANE_INLINE const float* follow(const Micro* after, int steps,
                                  float (&space)[kFollowing + 1][size], int count) {
  float* registers[kFollowing + 1];
  for (int i = 0; i <= steps; ++i) registers[i] = space[i];
  chain(after, steps, registers, count);
  return registers[steps];
}

}  // namespace milane::host::MILANE_ISA

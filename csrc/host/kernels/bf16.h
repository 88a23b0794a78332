// The loops of numerics "bf16", which one instruction set has: AVX512-BF16. As kernels.h: raw
// pointers, no standard container.
#pragma once

#include <cstdint>

#include "core/half.h"

namespace milane::host {

// The upper half of a float: 8 bits of precision.
struct Bf16 {
  std::uint16_t bits = 0;
};

// Panels of both operands are [ceil(depth/2)][16][2]: two neighbours along the depth side by side,
// as the instruction takes them. What is missing is zero.
struct Bf16Kernels {
  static constexpr int kPanels = 3;  // of columns, of a tile at most
  // acc[i*lda + j] = sum_k a_i[k] * b_j[k] for i < rows <= 16, j < 16*panels; panels of b are
  // `b_panel` elements apart. Each sum is one chain along the depth, from zero. Lines of a are
  // fetched ahead of their use, those of b are not.
  void (*tile)(const Bf16* a, const Bf16* b, std::int64_t b_panel, std::int64_t pairs,
               std::int64_t rows, std::int64_t panels, float* acc, std::int64_t lda);
  // A panel of src[i*inner + k*outer] for i < count <= 16, k < depth, each the nearest bf16 (even);
  // inner or outer is 1.
  void (*pack)(Bf16* panel, const Half* src, std::int64_t inner, std::int64_t outer,
               std::int64_t count, std::int64_t depth);
  // As LimitLoops::multiply_add (limits.h), of the dot products of pairs.
  std::int64_t (*dots)(std::int64_t steps, float* kept);
};

// Null where this CPU has none, or MILANE_ISA does not let them be used.
const Bf16Kernels* bf16_kernels();

}  // namespace milane::host

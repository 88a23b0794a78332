// Matrix products with a vector or a few: memory bounds them, so the matrix is read once, as it
// lies, instead of being packed for tiles.
#pragma once

#include "host/gemm.h"

namespace milane::host {

// Up to this many vectors a packed matrix meets them all in one pass: tiles would be padded.
std::int64_t most_vectors();

// Packed rows times vectors, x[depth][count] floats. The result is C(count x rows), or
// C(rows x count) when `transposed`. Sums of two vectors or more are one chain along the depth, as
// a tile's; those of one are several.
void run_vectors(const PackedView& w, const float* x, std::int64_t count, const OutputRef& c,
                 bool transposed, int slots);

// Up to this many rows of a product whose operands are both known only at run time pass by the
// other operand, which is not packed.
inline constexpr std::int64_t kFewRows = 4;
void run_few_rows(const MatmulShape& shape, const MatrixRef& a, const MatrixRef& b,
                  const OutputRef& c, const Workspace& workspace);
std::size_t run_few_rows_bytes(const MatmulShape& shape, int slots);

}  // namespace milane::host

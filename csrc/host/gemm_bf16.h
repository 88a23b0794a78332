// Matrix products of numerics "bf16": fp16 operands, each element rounded to bf16 once, products
// summed in fp32 along one chain per element, whatever the shapes and threads; one rounding at the
// store.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/gemm.h"

namespace milane::host {

// Whether a product of so many vectors with constant weights is one of these. Few are bound by
// reading the weights, which fp16 holds in as many bytes: they are multiplied as ever.
bool pays_in_bf16(std::int64_t vectors);

// Packed rows of dtype kBf16, [ceil(rows/16)][ceil(depth/2)][16][2], from halves that are dense
// along their rows or columns, in parallel. The vectors given below must be so too.
void pack_bf16(const PackedView& to, const MatrixRef& from);

// C(m x n) = W(m x k) X(n x k)^T, W packed.
void bf16_weights_times(const PackedView& w, const MatrixRef& x, std::int64_t n, const OutputRef& c,
                        const Workspace& workspace);
// C(b x n) = X(b x k) W(n x k)^T, W packed.
void bf16_times_weights(const MatrixRef& x, std::int64_t b, const PackedView& w, const OutputRef& c,
                        const Workspace& workspace);
// For so many vectors (n or b) of depth k.
std::size_t bf16_product_bytes(std::int64_t vectors, std::int64_t k);

}  // namespace milane::host

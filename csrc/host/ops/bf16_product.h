// Products with constant weights under numerics "bf16", as linear, matmul and conv have them.
#pragma once

#include <cstdint>

#include "host/gemm.h"
#include "host/op.h"
#include "host/ops/operands.h"

namespace milane::host {

// y[image] = W X[image], or X[image] W^T: W is [rows, depth], X has `vectors` of `depth` elements.
struct Bf16Product {
  Operand weight, x;
  std::int64_t rows = 0, depth = 0, vectors = 0;
  std::int64_t w_row = 0, w_depth = 1;     // strides in elements
  std::int64_t x_vector = 0, x_depth = 1;  // of one image
  std::int64_t images = 1;                 // dense, one after the other
  bool weights_left = false;               // y[image] is [rows, vectors], else [vectors, rows]
};

// What runs it, with a bias per row of W; nothing where it is a product of fp16: under other
// numerics, with other types, with weights that are not constant, or with few vectors.
RunFn bf16_product(OpSite& site, const Bf16Product& product, const Operand& bias = {});

}  // namespace milane::host

#pragma once

#include "host/gemm.h"
#include "host/op.h"

namespace milane::host {

// softmax(q k^T * scale + mask) v for every batch: q [batch, length, depth], k [batch, keys,
// depth], v [batch, keys, width]. Scores exist one tile of keys x queries at a time.
struct Attention {
  std::int64_t batch = 1, length = 0, keys = 0, depth = 0, width = 0;
  float scale = 1.0f;

  // Mask element of (batch, query, key): strides in elements, 0 where it is broadcast; batch axes
  // are those of the operands. A bool mask keeps where true, a float mask is added.
  DType mask_dtype = DType::kBool;
  Dims batch_dims, mask_batch_strides;
  std::int64_t mask_query = 0, mask_key = 0;

  std::int64_t query_block() const;  // queries that share one packed tile of keys
  std::size_t slot_bytes() const;
  // mask: null for none. All of q, k, v, y have `dtype`.
  void run(DType dtype, const std::byte* q, const std::byte* k, const std::byte* v,
           const std::byte* mask, DType out_dtype, std::byte* y, const Workspace& workspace) const;
};

}  // namespace milane::host

// scaled_dot_product_attention in tiles with transposed scores: keys down, queries across. The
// scores then feed the second product as they lie, and softmax runs down columns, one query a lane.
#include "host/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/integers.h"
#include "host/ops/operands.h"

namespace milane::host {
namespace {

constexpr std::int64_t kKeyTile = 64;
constexpr std::int64_t kQueryBlock = 128;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

const std::byte* at(const std::byte* p, DType dtype, std::int64_t i) {
  return p + i * static_cast<std::int64_t>(dtype_size(dtype));
}

// One block of queries of one batch: working memory and where its operands are.
struct Block {
  const Attention& a;
  DType dtype;
  const std::byte *q, *k, *v, *mask;  // of this batch, from this block's first query on
  std::int64_t queries;
  std::int64_t nr, panels;
  float *query, *key, *value, *scores, *acc, *maximum, *sum, *factor, *turned;

  Block(const Attention& attention, DType t, std::byte* memory)
      : a(attention),
        dtype(t),
        q(nullptr),
        k(nullptr),
        v(nullptr),
        mask(nullptr),
        queries(0),
        nr(kernels().nr),
        panels(a.query_block() / nr) {
    float* next = reinterpret_cast<float*>(memory);
    const auto take = [&](std::int64_t floats) {
      float* const p = next;
      next += round_up(floats, 16);
      return p;
    };
    query = take(panels * a.depth * nr);                  // [panel][depth][nr]
    key = take(a.depth * kKeyTile);                       // [tile/16][depth][16]
    value = take(kKeyTile * round_up(a.width, kPanel));   // [width/16][tile][16]
    scores = take(kKeyTile * nr);                         // [tile][nr]
    acc = take(panels * round_up(a.width, kPanel) * nr);  // [panel][width][nr]
    maximum = take(panels * nr);
    sum = take(panels * nr);
    factor = take(nr);
    turned = take(nr * round_up(a.width, kPanel));
  }

  static std::size_t bytes(const Attention& a) {
    const std::int64_t nr = kernels().nr, block = a.query_block(), wide = round_up(a.width, kPanel);
    const std::int64_t floats = block * a.depth + kKeyTile * (a.depth + wide + nr) + block * wide +
                                2 * block + nr + nr * wide + 9 * 16;
    return static_cast<std::size_t>(round_up(floats, 16)) * sizeof(float);
  }

  void start() const {
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t first = p * nr, count = std::clamp<std::int64_t>(queries - first, 0, nr);
      float* const panel = query + first * a.depth;
      if (count < nr) std::memset(panel, 0, static_cast<std::size_t>(a.depth * nr) * sizeof(float));
      pack_tile(dtype, panel, nr, at(q, dtype, first * a.depth), a.depth, 1, count, a.depth);
    }
    std::fill_n(maximum, panels * nr, kMinusInfinity);
    std::fill_n(sum, panels * nr, 0.0f);
    std::fill_n(acc, panels * round_up(a.width, kPanel) * nr, 0.0f);
  }

  void load_keys(std::int64_t first, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; i += kPanel) {
      const std::int64_t rows = std::min(kPanel, count - i);
      float* const panel = key + i * a.depth;
      if (rows < kPanel)
        std::memset(panel, 0, static_cast<std::size_t>(a.depth * kPanel) * sizeof(float));
      pack_tile(dtype, panel, kPanel, at(k, dtype, (first + i) * a.depth), a.depth, 1, rows,
                a.depth);
    }
    for (std::int64_t i = 0; i < a.width; i += kPanel) {
      const std::int64_t columns = std::min(kPanel, a.width - i);
      float* const panel = value + i * kKeyTile;
      if (columns < kPanel)
        std::memset(panel, 0, static_cast<std::size_t>(count * kPanel) * sizeof(float));
      pack_tile(dtype, panel, kPanel, at(v, dtype, first * a.width + i), 1, a.width, columns,
                count);
    }
  }

  // scores[count][nr] of one panel of queries, scaled and masked.
  void score(std::int64_t panel, std::int64_t first, std::int64_t count) const {
    const Kernels& kernel = kernels();
    const float* const queries_of = query + panel * nr * a.depth;
    for (std::int64_t i = 0; i < count; i += kernel.mr) {
      kernel.gemm_tile(key + i / kPanel * kPanel * a.depth + i % kPanel, kPanel, queries_of,
                       a.depth, scores + i * nr, true);
    }
    kernel.scale_shift(scores, scores, a.scale, 0.0f, static_cast<std::size_t>(count * nr));
    if (mask == nullptr) return;
    const std::int64_t lanes = std::min(nr, queries - panel * nr);
    for (std::int64_t j = 0; j < lanes; ++j) {
      const std::int64_t base = (panel * nr + j) * a.mask_query + first * a.mask_key;
      apply_mask(scores + j, base, count);
    }
  }

  // One query's column of the tile.
  void apply_mask(float* column, std::int64_t base, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t e = base + i * a.mask_key;
      if (a.mask_dtype == DType::kBool) {
        if (mask[e] == std::byte{0}) column[i * nr] = kMinusInfinity;
      } else if (a.mask_dtype == DType::kFp16) {
        column[i * nr] += half_to_float(reinterpret_cast<const Half*>(mask)[e]);
      } else {
        column[i * nr] += reinterpret_cast<const float*>(mask)[e];
      }
    }
  }

  // acc[width][nr] = acc * factor + value^T scores
  void accumulate(std::int64_t panel, std::int64_t count) const {
    const Kernels& kernel = kernels();
    const std::int64_t wide = round_up(a.width, kPanel);
    float* const out = acc + panel * wide * nr;
    for (std::int64_t i = 0; i < wide; ++i) {
      for (std::int64_t j = 0; j < nr; ++j) out[i * nr + j] *= factor[j];
    }
    for (std::int64_t i = 0; i < a.width; i += kernel.mr) {
      kernel.gemm_tile(value + i / kPanel * kPanel * kKeyTile + i % kPanel, kPanel, scores, count,
                       out + i * nr, false);
    }
  }

  void finish(DType out_dtype, std::byte* y) const {
    const std::int64_t wide = round_up(a.width, kPanel);
    for (std::int64_t p = 0; p * nr < queries; ++p) {
      const std::int64_t count = std::min(nr, queries - p * nr);
      for (std::int64_t j = 0; j < count; ++j) {
        const float total = sum[p * nr + j];
        for (std::int64_t i = 0; i < a.width; ++i) {
          turned[j * wide + i] = acc[(p * wide + i) * nr + j] / total;
        }
      }
      store_tile({out_dtype, y, a.width}, p * nr, 0, turned, wide, count, a.width);
    }
  }
};

}  // namespace

std::int64_t Attention::query_block() const {
  return std::min(kQueryBlock, round_up(std::max<std::int64_t>(length, 1), kernels().nr));
}

std::size_t Attention::slot_bytes() const { return Block::bytes(*this); }

void Attention::run(DType dtype, const std::byte* q, const std::byte* k, const std::byte* v,
                    const std::byte* mask, DType out_dtype, std::byte* y,
                    const Workspace& ws) const {
  const std::int64_t step = query_block(), blocks = (length + step - 1) / step;
  run_slots(ws.slots, batch * blocks, [&](int slot, std::int64_t task) {
    const std::int64_t b = task / blocks, first = task % blocks * step;
    Block block(*this, dtype, ws.data + static_cast<std::size_t>(slot) * slot_bytes());
    block.queries = std::min(step, length - first);
    block.q = at(q, dtype, (b * length + first) * depth);
    block.k = at(k, dtype, b * keys * depth);
    block.v = at(v, dtype, b * keys * width);
    if (mask != nullptr) {
      std::int64_t offset = first * mask_query, rest = b;
      for (std::size_t axis = batch_dims.size(); axis-- > 0;) {
        offset += rest % batch_dims[axis] * mask_batch_strides[axis];
        rest /= batch_dims[axis];
      }
      block.mask = at(mask, mask_dtype, offset);
    }
    block.start();
    for (std::int64_t tile = 0; tile < keys; tile += kKeyTile) {
      const std::int64_t count = std::min(kKeyTile, keys - tile);
      block.load_keys(tile, count);
      for (std::int64_t p = 0; p * block.nr < block.queries; ++p) {
        block.score(p, tile, count);
        const std::int64_t lane = p * block.nr;
        kernels().softmax_tile(block.scores, count, block.maximum + lane, block.sum + lane,
                               block.factor);
        block.accumulate(p, count);
      }
    }
    block.finish(out_dtype, y + (b * length + first) * width *
                                    static_cast<std::int64_t>(dtype_size(out_dtype)));
  });
}

RunFn op_scaled_dot_product_attention(OpSite& site) {
  const Operand q = site.in("query"), k = site.in("key"), v = site.in("value");
  const Operand mask = site.in("attn_mask"), y = site.out();
  require_float(site, {q, k, v});
  Attention a;
  a.batch_dims = Dims(q.dims.begin(), q.dims.end() - 2);
  a.batch = element_count(a.batch_dims);
  a.length = q.dims.end()[-2];
  a.depth = q.dims.back();
  a.keys = k.dims.end()[-2];
  a.width = v.dims.back();
  a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.depth)));
  if (mask.present()) {
    if (mask.dtype != DType::kBool) require_float(site, {mask});
    a.mask_dtype = mask.dtype;
    Dims all(q.dims.size(), 1), strides(q.dims.size(), 0);  // aligned with [batch..., query, key]
    const Dims own = contiguous_strides(mask.dims);
    const std::size_t front = all.size() - mask.dims.size();
    for (std::size_t i = 0; i < mask.dims.size(); ++i)
      strides[front + i] = mask.dims[i] == 1 ? 0 : own[i];
    a.mask_batch_strides = Dims(strides.begin(), strides.end() - 2);
    a.mask_query = strides.end()[-2];
    a.mask_key = strides.end()[-1];
  }
  const int slots = num_threads();
  const Scratch work = site.scratch(static_cast<std::size_t>(slots) * a.slot_bytes());
  return [=](const Exec& e) {
    a.run(q.dtype, e.in<std::byte>(q), e.in<std::byte>(k), e.in<std::byte>(v),
          mask.present() ? e.in<std::byte>(mask) : nullptr, y.dtype, e.out<std::byte>(y),
          {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace milane::host

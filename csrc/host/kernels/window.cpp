// Windows over rows (depthwise convolution, pooling) and the softmax of attention tiles. Nothing is
// fused, so all instruction sets give the same bits.
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {

// rows[taps][n], w[taps], y[n]
void weighted_rows(float* y, const float* const* rows, const float* w, std::int64_t taps,
                   std::size_t n) {
  std::size_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
    Vec acc[4] = {};
    for (std::int64_t t = 0; t < taps; ++t) {
      MILANE_UNROLL
      for (int j = 0; j < 4; ++j) acc[j] += load_vec(rows[t] + i + j * kWidth) * w[t];
    }
    MILANE_UNROLL
    for (int j = 0; j < 4; ++j) store_vec(y + i + j * kWidth, acc[j]);
  }
  for (; i < n; i += kWidth) {
    Vec acc = {};
    for (std::int64_t t = 0; t < taps; ++t) acc += load_vec(rows[t] + i) * w[t];
    store_vec(y + i, acc);
  }
}

// rows[taps][n], y[n]
void max_rows(float* y, const float* const* rows, std::int64_t taps, std::size_t n) {
  const float lowest = -__builtin_inff();
  for (std::size_t i = 0; i < n; i += kWidth) {
    Vec best = splat(lowest);
    for (std::int64_t t = 0; t < taps; ++t) best = maximum(best, load_vec(rows[t] + i));
    store_vec(y + i, best);
  }
}

// s[keys][nr], maximum[nr], sum[nr], factor[nr]
void softmax_tile(float* s, std::int64_t keys, float* running, float* sum, float* factor) {
  const float lowest = -__builtin_inff();
  for (int j = 0; j < kTileColumns; j += kWidth) {
    const Vec before = load_vec(running + j);
    Vec best = before;
    for (std::int64_t k = 0; k < keys; ++k)
      best = maximum(best, load_vec(s + k * kTileColumns + j));
    // Nothing but -infinity so far: subtract 0, not -infinity, so that those weights become 0.
    const Vec minus = best == lowest ? Vec{} : best;
    const Vec scale = exp_vec(before - minus);
    Vec total = {};
    for (std::int64_t k = 0; k < keys; ++k) {
      const Vec e = exp_vec(load_vec(s + k * kTileColumns + j) - minus);
      store_vec(s + k * kTileColumns + j, e);
      total += e;
    }
    store_vec(running + j, best);
    store_vec(factor + j, scale);
    store_vec(sum + j, load_vec(sum + j) * scale + total);
  }
}

}  // namespace milane::host::MILANE_ISA

// Softmax of attention's tiles: keys down, one query in each lane. Sums run in the order that the
// unfused operations have, bit for bit.
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kLanes = 16;                      // partial sums of a row (rows.cpp)
constexpr int kTogether = kWidth >= 8 ? 8 : 4;  // exponentials that take turns; measured

// The best of each column of s[keys][nr]. NaN may be passed over: it makes the sum NaN.
MILANE_INLINE Vec best_of(const float* s, std::int64_t keys) {
  constexpr int kChains = 4;
  Vec best[kChains];
  for (Vec& v : best) v = splat(-__builtin_inff());
  std::int64_t k = 0;
  for (; k + kChains <= keys; k += kChains) {
    MILANE_UNROLL
    for (int i = 0; i < kChains; ++i)
      best[i] = larger(load_vec(s + (k + i) * kTileColumns), best[i]);
  }
  for (; k < keys; ++k) best[0] = larger(load_vec(s + k * kTileColumns), best[0]);
  return larger(larger(best[0], best[1]), larger(best[2], best[3]));
}

// s = exp(s - best) for neighbouring keys, and each added to a sum of its own.
template <int count>
MILANE_INLINE void exp_keys(float* s, Vec best, Vec* sums) {
  Vec e[count];
  MILANE_UNROLL
  for (int i = 0; i < count; ++i) e[i] = load_vec(s + i * kTileColumns) - best;
  exp_vecs(e);
  MILANE_UNROLL
  for (int i = 0; i < count; ++i) {
    store_vec(s + i * kTileColumns, e[i]);
    sums[i] += e[i];
  }
}

// The same, added to one sum one by one.
template <int count>
MILANE_INLINE Vec added(float* s, Vec best, Vec total) {
  Vec sums[count] = {};
  exp_keys<count>(s, best, sums);
  MILANE_UNROLL
  for (int i = 0; i < count; ++i) total += sums[i];
  return total;
}

}  // namespace

// s[keys][nr], `columns` of it
void softmax_columns(float* s, std::int64_t keys, std::int64_t columns, bool round) {
  for (std::int64_t j = 0; j < columns; j += kWidth, s += kWidth) {
    const Vec best = best_of(s, keys);
    Vec lanes[kLanes] = {};
    std::int64_t k = 0;
    for (; k + kLanes <= keys; k += kLanes) {
      MILANE_UNROLL
      for (int i = 0; i < kLanes; i += kTogether)
        exp_keys<kTogether>(s + (k + i) * kTileColumns, best, lanes + i);
    }
    for (Vec* lane = lanes; k < keys; ++k, ++lane) exp_keys<1>(s + k * kTileColumns, best, lane);
    MILANE_UNROLL
    for (int half = kLanes / 2; half > 0; half /= 2) {
      MILANE_UNROLL
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    const Vec factor = 1.0f / lanes[0];
    for (k = 0; k < keys; ++k) {
      const Vec v = load_vec(s + k * kTileColumns) * factor;
      store_vec(s + k * kTileColumns, round ? round_half(v) : v);
    }
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
    std::int64_t k = 0;
    for (; k + kTogether <= keys; k += kTogether)
      total = added<kTogether>(s + k * kTileColumns + j, minus, total);
    for (; k < keys; ++k) total = added<1>(s + k * kTileColumns + j, minus, total);
    store_vec(running + j, best);
    store_vec(factor + j, scale);
    store_vec(sum + j, load_vec(sum + j) * scale + total);
  }
}

}  // namespace milane::host::MILANE_ISA

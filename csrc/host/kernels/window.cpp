// Windows over planes (depthwise convolution, pooling) and the softmax of attention tiles.
#include "host/kernels/part.h"
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

// The larger lane of a and b; NaN wins on either side, a where they are equal.
MILANE_INLINE Vec larger(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  // The instruction gives its second operand where there is a NaN.
  const Vec most = _mm512_maskz_max_ps(kAllLanes, b, a);
  return _mm512_mask_mov_ps(most, _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q), b);
#else
  return maximum(a, b);
#endif
}

// acc[R] and the N rows of one tap, each row of x read once.
template <bool maxima, int N, int R>
MILANE_INLINE void add_tap(Vec (&acc)[R], const float* x, std::int64_t step, const float* weights,
                           const std::int64_t* weight) {
  Vec w[N];
  MILANE_UNROLL
  for (int k = 0; k < N; ++k) w[k] = splat(maxima ? 1.0f : weights[weight[k]]);
  MILANE_UNROLL
  for (int j = 0; j < R + N - 1; ++j, x += step) {
    const Vec value = load_vec(x);
    MILANE_UNROLL
    for (int k = 0; k < N; ++k) {
      if (j < k || j - k >= R) continue;
      Vec& to = acc[j - k];
      to = maxima ? larger(to, value) : multiply_add(value, w[k], to);
    }
  }
}

// R rows of one register from column `column` on: so many sums advance side by side.
template <class T, bool maxima, int R>
MILANE_INLINE void window_rows(const WindowTile& t, std::int64_t row, std::int64_t column) {
  const float* const x = t.x + row * t.row_step + column;
  Vec acc[R];
  MILANE_UNROLL
  for (int r = 0; r < R; ++r) acc[r] = splat(maxima ? -__builtin_inff() : 0.0f);
  for (std::int64_t n = 0; n < t.count; ++n) {
    const WindowTap& tap = t.taps[n];
    static_assert(WindowTap::kRows == 3);
    if (tap.rows == 3) {
      add_tap<maxima, 3>(acc, x + tap.x, t.row_step, t.weights, tap.weight);
    } else if (tap.rows == 2) {
      add_tap<maxima, 2>(acc, x + tap.x, t.row_step, t.weights, tap.weight);
    } else {
      add_tap<maxima, 1>(acc, x + tap.x, t.row_step, t.weights, tap.weight);
    }
  }
  const std::int64_t count = t.columns - column;
  std::int64_t at = row * t.row_stride + column;
  MILANE_UNROLL
  for (int r = 0; r < R; ++r, at += t.row_stride) {
    if (!maxima) {
      acc[r] += splat(t.bias);
      if (t.divisors != nullptr) acc[r] /= load_vec(t.divisors + at);
      if (t.root) {
        MILANE_UNROLL
        for (int i = 0; i < kWidth; ++i) acc[r][i] = __builtin_sqrtf(acc[r][i]);
      }
    }
    T* const y = static_cast<T*>(t.y) + at;
    count >= kWidth ? store_vec(y, acc[r]) : store_part(y, acc[r], count);
  }
}

template <class T, bool maxima, int R>
MILANE_INLINE std::int64_t window_columns(const WindowTile& t, std::int64_t row) {
  for (std::int64_t column = 0; column < t.columns; column += kWidth)
    window_rows<T, maxima, R>(t, row, column);
  return row + R;
}

template <class T, bool maxima>
MILANE_INLINE void window(const WindowTile& t) {
  std::int64_t row = 0;
  while (row + 7 <= t.rows) row = window_columns<T, maxima, 7>(t, row);  // sizes of images are of 7
  while (row + 4 <= t.rows) row = window_columns<T, maxima, 4>(t, row);
  while (row + 2 <= t.rows) row = window_columns<T, maxima, 2>(t, row);
  if (row < t.rows) window_columns<T, maxima, 1>(t, row);
}

template <bool maxima>
void any_window(WindowTile t) {
  if (t.rows == 1 && t.columns >= 2 * kWidth) {
    // Registers side by side are rows too; what is left over is one short row more.
    WindowTile rest = t;
    t.rows = t.columns / kWidth;
    t.columns = t.row_step = t.row_stride = kWidth;
    const std::int64_t done = t.rows * kWidth;
    if (rest.columns > done) {
      rest.columns -= done;
      rest.x += done;
      rest.y = static_cast<char*>(rest.y) + done * (rest.half ? 2 : 4);
      if (rest.divisors != nullptr) rest.divisors += done;
      any_window<maxima>(rest);
    }
  }
  t.half ? window<Half, maxima>(t) : window<float, maxima>(t);
}

// s = exp(s - minus) for neighbouring keys, added to the sum one by one.
template <int count>
MILANE_INLINE Vec exp_keys(float* s, Vec minus, Vec total) {
  Vec e[count];
  MILANE_UNROLL
  for (int i = 0; i < count; ++i) e[i] = load_vec(s + i * kTileColumns) - minus;
  exp_vecs(e);
  MILANE_UNROLL
  for (int i = 0; i < count; ++i) {
    store_vec(s + i * kTileColumns, e[i]);
    total += e[i];
  }
  return total;
}

}  // namespace

void window_sum(const WindowTile& t) { any_window<false>(t); }
void window_max(const WindowTile& t) { any_window<true>(t); }

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
    constexpr int kTogether = kWidth >= 8 ? 8 : 4;
    std::int64_t k = 0;
    for (; k + kTogether <= keys; k += kTogether)
      total = exp_keys<kTogether>(s + k * kTileColumns + j, minus, total);
    for (; k < keys; ++k) total = exp_keys<1>(s + k * kTileColumns + j, minus, total);
    store_vec(running + j, best);
    store_vec(factor + j, scale);
    store_vec(sum + j, load_vec(sum + j) * scale + total);
  }
}

}  // namespace milane::host::MILANE_ISA

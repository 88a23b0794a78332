// Windows over planes: depthwise convolution, pooling.
#include "host/kernels/part.h"
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

// acc[R] and the N rows of one tap, each row of x read once.
template <bool maxima, int N, int R>
MILANE_INLINE void add_tap(Vec (&acc)[R], const float* x, std::int64_t step, const float* weights,
                           const std::int64_t* weight) {
  Vec w[N];
  MILANE_UNROLL
  for (int k = 0; k < N; ++k) w[k] = splat(maxima ? 1.0f : weights[weight[k]]);
  MILANE_UNROLL
  for (int j = 0; j < R + N - 1; ++j) {
    // Three rows are reached from one pointer; one for each would not fit into the registers.
    if (j > 0 && j % 3 == 0) x += 3 * step;
    const Vec value = N == 1 ? load_vec(x + j % 3 * step) : loaded(load_vec(x + j % 3 * step));
    MILANE_UNROLL
    for (int k = 0; k < N; ++k) {
      if (j < k || j - k >= R) continue;
      Vec& to = acc[j - k];
      to = maxima ? maximum(to, value) : multiply_add(value, w[k], to);
    }
  }
}

// What follows the sums of the outputs from `at` on: the bias, and for pooling more.
template <int R>
MILANE_INLINE void finish(const WindowTile& t, Vec (&acc)[R], std::int64_t at) {
  MILANE_UNROLL
  for (int r = 0; r < R; ++r) acc[r] += splat(t.bias);
  if (t.divisors != nullptr) {
    for (int r = 0; r < R; ++r) acc[r] /= load_vec(t.divisors + at + r * t.row_stride);
  }
  if (t.root) {
    for (int r = 0; r < R; ++r) {
      MILANE_UNROLL
      for (int i = 0; i < kWidth; ++i) acc[r][i] = __builtin_sqrtf(acc[r][i]);
    }
  }
}

// A whole register where that stays before `end`: what is past `count` is written again later.
template <class T>
MILANE_INLINE void store_until(T* y, Vec v, std::int64_t count, const T* end) {
  y + kWidth <= end ? store_vec(y, v) : store_part(y, v, count);
}

// R rows of one register from column `column` on: so many sums advance side by side.
template <class T, bool maxima, int R>
MILANE_INLINE void window_rows(const WindowTile& t, std::int64_t row, std::int64_t column,
                               const T* end) {
  const float* const x = t.x + row * t.row_step + column;
  Vec acc[R];
  MILANE_UNROLL
  for (int r = 0; r < R; ++r) acc[r] = splat(maxima ? -__builtin_inff() : 0.0f);
  // A loop for each number of rows: with a choice inside of one loop, GCC keeps the addresses that
  // the branches share, more than there are registers.
  static_assert(WindowTap::kRows == 3);
  const WindowTap *tap = t.taps, *const last = tap + t.count;
  for (; tap < last && tap->rows == 3; ++tap)
    add_tap<maxima, 3>(acc, x + tap->x, t.row_step, t.weights, tap->weight);
  for (; tap < last && tap->rows == 2; ++tap)
    add_tap<maxima, 2>(acc, x + tap->x, t.row_step, t.weights, tap->weight);
  for (; tap < last; ++tap) add_tap<maxima, 1>(acc, x + tap->x, t.row_step, t.weights, tap->weight);
  const std::int64_t count = t.columns - column, at = row * t.row_stride + column;
  if (!maxima) finish(t, acc, at);
  T* y = static_cast<T*>(t.y) + at;
  if (count >= kWidth) {
    MILANE_UNROLL
    for (int r = 0; r < R; ++r, y += t.row_stride) store_vec(y, acc[r]);
  } else {
    for (int r = 0; r < R; ++r, y += t.row_stride) store_until(y, acc[r], count, end);
  }
}

template <class T, bool maxima, int R>
MILANE_INLINE std::int64_t window_columns(const WindowTile& t, std::int64_t row, const T* end) {
  // The last columns again, where they do not fill a register.
  const std::int64_t last = t.columns < kWidth ? 0 : t.columns - kWidth;
  for (std::int64_t column = 0; column < t.columns; column += kWidth)
    window_rows<T, maxima, R>(t, row, column < last ? column : last, end);
  return row + R;
}

#if defined(MILANE_ISA_v4)
constexpr std::int64_t kPair = 8;  // floats from one row of a register to the other

// The second row of a and the first one of b.
MILANE_INLINE Vec joined(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
                                 23);
}

// acc[R], of two rows each, and the N rows of one tap
template <int N, int R>
MILANE_INLINE void add_paired(Vec (&acc)[R], const float* x, const float* weights,
                              const std::int64_t* weight) {
  Vec w[N];
  MILANE_UNROLL
  for (int k = 0; k < N; ++k) w[k] = splat(weights[weight[k]]);
  // The pairs in between are two halves: cheaper than loads that straddle cache lines.
  Vec pairs[R + 1];
  MILANE_UNROLL
  for (int i = 0; i < R + (N > 1 ? 1 : 0); ++i) pairs[i] = load_vec(x + i * 2 * kPair);
  MILANE_UNROLL
  for (int j = 0; j < 2 * (R - 1) + N; ++j) {
    const Vec value = j % 2 == 0 ? pairs[j / 2] : joined(pairs[j / 2], pairs[j / 2 + 1]);
    MILANE_UNROLL
    for (int k = 0; k < N; ++k) {
      const int r = (j - k) / 2;
      if (j >= k && (j - k) % 2 == 0 && r < R) acc[r] = multiply_add(value, w[k], acc[r]);
    }
  }
}

// R registers of two rows each; `kThree`: of 3 x 3 taps.
template <class T, bool kThree, int R>
MILANE_INLINE std::int64_t paired_rows(const WindowTile& t, std::int64_t row, const T* end) {
  const float* const x = t.x + row * kPair;
  Vec acc[R] = {};
  if (kThree) {
    MILANE_UNROLL
    for (int n = 0; n < 3; ++n) add_paired<3>(acc, x + t.taps[n].x, t.weights, t.taps[n].weight);
  } else {
    const WindowTap *tap = t.taps, *const last = tap + t.count;
    for (; tap < last && tap->rows == 3; ++tap)
      add_paired<3>(acc, x + tap->x, t.weights, tap->weight);
    for (; tap < last && tap->rows == 2; ++tap)
      add_paired<2>(acc, x + tap->x, t.weights, tap->weight);
    for (; tap < last; ++tap) add_paired<1>(acc, x + tap->x, t.weights, tap->weight);
  }
  const __mmask16 one = lanes(t.columns);
  const auto both = static_cast<__mmask16>(one | one << kPair);
  T* y = static_cast<T*>(t.y) + row * t.columns;
  MILANE_UNROLL
  for (int r = 0; r < R; ++r, row += 2, y += 2 * t.columns) {
    const Vec v = _mm512_maskz_compress_ps(both, acc[r] + splat(t.bias));
    store_until(y, v, row + 1 < t.rows ? 2 * t.columns : t.columns, end);
  }
  return row;
}
#endif

// Rows narrow enough for two of them to be one register, and nothing to do but sums.
template <bool maxima>
MILANE_INLINE bool is_paired([[maybe_unused]] const WindowTile& t) {
#if defined(MILANE_ISA_v4)
  return !maxima && t.row_step == kPair && t.columns <= kPair && t.row_stride == t.columns &&
         t.divisors == nullptr && !t.root;
#else
  return false;
#endif
}

#if defined(MILANE_ISA_v4)
template <class T, bool kThree>
MILANE_INLINE void paired_window(const WindowTile& t, const T* end) {
  std::int64_t row = 0;
  while (row + 6 < t.rows) row = paired_rows<T, kThree, 4>(t, row, end);
  while (row + 2 < t.rows) row = paired_rows<T, kThree, 2>(t, row, end);
  if (row < t.rows) paired_rows<T, kThree, 1>(t, row, end);
}
#endif

// The outputs of one plane; they may be written over up to `end`.
template <class T, bool maxima>
MILANE_INLINE void window(const WindowTile& t, const T* end) {
#if defined(MILANE_ISA_v4)
  if (is_paired<maxima>(t)) {
    const bool three = t.count == 3 && t.taps[0].rows + t.taps[1].rows + t.taps[2].rows == 9;
    return three ? paired_window<T, true>(t, end) : paired_window<T, false>(t, end);
  }
#endif
  std::int64_t row = 0;
  // Sizes of images are of 7; twice that where there are 32 registers.
#if defined(MILANE_ISA_v4)
  while (row + 14 <= t.rows) row = window_columns<T, maxima, 14>(t, row, end);
#endif
  while (row + 7 <= t.rows) row = window_columns<T, maxima, 7>(t, row, end);
  while (row + 4 <= t.rows) row = window_columns<T, maxima, 4>(t, row, end);
  while (row + 2 <= t.rows) row = window_columns<T, maxima, 2>(t, row, end);
  if (row < t.rows) window_columns<T, maxima, 1>(t, row, end);
}

template <class T, bool maxima>
MILANE_INLINE void windows(WindowTile t, const WindowPlanes& p) {
  T* const y = static_cast<T*>(t.y);
  const std::int64_t each = t.rows * t.row_stride;
  const T* const end = y + p.count * each - t.row_stride + t.columns;
  for (std::int64_t i = 0; i < p.count; ++i) {
    if (p.bias != nullptr) t.bias = p.bias[i];
    t.y = y + i * each;
    window<T, maxima>(t, end);
    t.x += p.x_step;
    t.weights += p.weight_step;
  }
}

MILANE_INLINE bool sees_one_row(const WindowTile& t) {
  for (std::int64_t n = 0; n < t.count; ++n) {
    if (t.taps[n].rows != 1) return false;
  }
  return true;
}

template <bool maxima>
void any_window(WindowTile t, const WindowPlanes& p) {
  constexpr std::int64_t kLine = WindowTile::kLine;
  const bool line = t.row_step == kLine || sees_one_row(t);
  if (p.count == 1 && t.rows == 1 && t.columns >= 2 * kLine && line) {
    // Parts of a line are rows too; its last columns may be one row more.
    const std::int64_t last = t.columns - kLine;
    t.rows = t.columns / kLine;
    t.columns = t.row_step = t.row_stride = kLine;
    if (t.rows * kLine < last + kLine) {
      WindowTile rest = t;
      rest.rows = 1;
      rest.x += last;
      rest.y = static_cast<char*>(rest.y) + last * (rest.half ? 2 : 4);
      if (rest.divisors != nullptr) rest.divisors += last;
      any_window<maxima>(rest, p);
    }
  }
  t.half ? windows<Half, maxima>(t, p) : windows<float, maxima>(t, p);
}

}  // namespace

void window_sum(const WindowTile& t, const WindowPlanes& p) { any_window<false>(t, p); }
void window_max(const WindowTile& t, const WindowPlanes& p) { any_window<true>(t, p); }

}  // namespace milane::host::MILANE_ISA

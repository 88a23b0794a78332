// A matrix as it lies in memory times a vector or a few, not packed. Sums are split the same
// way on every instruction set: sixteen ways along rows, two ways down columns.
#include "host/kernels/part.h"
#include "host/kernels/transpose.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kLanes = 16;
constexpr int kVecs = kLanes / kWidth;
constexpr std::int64_t kAhead = 32;  // rows
#if defined(MILANE_ISA_v4)
constexpr bool kWide = true;  // twice the registers, so two vectors have twice the accumulators
#else
constexpr bool kWide = false;
#endif

// kVectors of x[][depth] with kRows rows: to[kVectors][kWidth], the sixteen partial sums of each
// row folded into one register
template <int kRows, int kVectors, class T>
MILANE_INLINE void dot_some(const T* const* w, const float* x, std::int64_t depth, Vec* to) {
  Vec acc[kRows][kVectors][kVecs] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    MILANE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      MILANE_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec row = load_vec(w[i] + k + v * kWidth);
        MILANE_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const Vec value = load_vec(x + j * depth + k + v * kWidth);
          acc[i][j][v] = multiply_add(row, value, acc[i][j][v]);
        }
      }
    }
  }
  if (k < depth) {
    MILANE_UNROLL
    for (int v = 0; v < kVecs; ++v, k += kWidth) {
      const std::int64_t rest = depth - k < kWidth ? depth - k : kWidth;
      const std::int64_t left = rest < 0 ? 0 : rest;
      MILANE_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const Vec row = load_part(w[i] + k, left);
        MILANE_UNROLL
        for (int j = 0; j < kVectors; ++j)
          acc[i][j][v] = multiply_add(row, load_part(x + j * depth + k, left), acc[i][j][v]);
      }
    }
  }
  MILANE_UNROLL
  for (int half = kVecs / 2; half > 0; half /= 2) {
    MILANE_UNROLL
    for (int i = 0; i < kRows; ++i) {
      MILANE_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        MILANE_UNROLL
        for (int v = 0; v < half; ++v) acc[i][j][v] += acc[i][j][v + half];
      }
    }
  }
  MILANE_UNROLL
  for (int i = 0; i < kRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kVectors; ++j) to[j * kWidth + i] = acc[i][j][0];
  }
}

// Short rows that are read side by side are not foreseen by the hardware: measured, heads of 64
// halves stream at half the rate without this. Long ones are.
template <class T>
MILANE_INLINE void prefetch_row(const T* row, std::int64_t depth) {
  constexpr std::int64_t kLine = 64 / sizeof(T), kShort = 512 / sizeof(T);
  if (depth > kShort) return;
  for (std::int64_t k = 0; k < depth; k += kLine) __builtin_prefetch(row + k);
}

// w[rows][stride], x[kVectors][depth], y[kVectors][pitch]
template <int kVectors, class T>
MILANE_INLINE void dot_rows(const T* w, std::int64_t stride, std::int64_t rows, const float* x,
                            std::int64_t depth, float* y, std::int64_t pitch) {
  // Eight accumulators hide the latency of a multiply-add; more where there are registers.
  constexpr int kRows = 8 / kVecs / (kWide ? 1 : kVectors);
  for (std::int64_t first = 0; first < rows; first += kWidth) {
    const std::int64_t count = rows - first < kWidth ? rows - first : kWidth;
    Vec sums[kVectors][kWidth];
    MILANE_UNROLL
    for (int i = 0; i < kWidth; i += kRows) {
      const T* at[kRows];  // past the last row: the last one again
      MILANE_UNROLL
      for (int r = 0; r < kRows; ++r)
        at[r] = w + (first + (i + r < count ? i + r : count - 1)) * stride;
      for (int r = 0; r < kRows; ++r) prefetch_row(at[r] + kAhead * stride, depth);
      dot_some<kRows, kVectors>(at, x, depth, sums[0] + i);
    }
    MILANE_UNROLL
    for (int j = 0; j < kVectors; ++j)
      store_part(y + j * pitch + first, sums_of_lanes(sums[j]), count);
  }
}

// kCount registers of neighbouring columns, or `part` < kWidth columns of one
template <int kCount, int kVectors, class T>
MILANE_INLINE void columns(const T* w, std::int64_t stride, const float* x, std::int64_t depth,
                           float* y, std::int64_t pitch, std::int64_t part = kWidth) {
  Vec acc[2][kVectors][kCount] = {};
  const auto add = [&](const T* row, std::int64_t k, int odd) {
    MILANE_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const T* const from = row + i * kWidth;
      const Vec v = part < kWidth ? load_part(from, part) : load_vec(from);
      MILANE_UNROLL
      for (int j = 0; j < kVectors; ++j)
        acc[odd][j][i] = multiply_add(v, splat(x[j * depth + k]), acc[odd][j][i]);
    }
  };
  std::int64_t k = 0;
  for (; k + 2 <= depth; k += 2, w += 2 * stride) {
    add(w, k, 0);
    add(w + stride, k + 1, 1);
  }
  if (k < depth) add(w, k, 0);
  MILANE_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    MILANE_UNROLL
    for (int i = 0; i < kCount; ++i)
      store_part(y + j * pitch + i * kWidth, acc[0][j][i] + acc[1][j][i], part);
  }
}

// w[depth][stride], x[kVectors][depth], y[kVectors][pitch]
template <int kVectors, class T>
MILANE_INLINE void sum_rows(const T* w, std::int64_t stride, std::int64_t count, const float* x,
                            std::int64_t depth, float* y, std::int64_t pitch) {
  constexpr int kMany = kWide ? 4 : 4 / kVectors;
  if (count < kWidth) return columns<1, kVectors>(w, stride, x, depth, y, pitch, count);
  std::int64_t j = 0;
  for (; j + kMany * kWidth <= count; j += kMany * kWidth)
    columns<kMany, kVectors>(w + j, stride, x, depth, y + j, pitch);
  // The last columns again, where they do not fill a register: each is a sum of its own.
  for (; j < count; j += kWidth) {
    const std::int64_t at = j + kWidth <= count ? j : count - kWidth;
    columns<1, kVectors>(w + at, stride, x, depth, y + at, pitch);
  }
}

// pass(kVectors, x, y) over x[vectors][depth] and y[vectors][pitch], two at a time
template <class Pass>
MILANE_INLINE void in_pairs(const float* x, std::int64_t vectors, std::int64_t depth, float* y,
                            std::int64_t pitch, Pass&& pass) {
  for (; vectors >= 2; vectors -= 2, x += 2 * depth, y += 2 * pitch)
    pass.template operator()<2>(x, y);
  if (vectors == 1) pass.template operator()<1>(x, y);
}

template <class T>
MILANE_INLINE void all_dot_rows(const T* w, std::int64_t stride, std::int64_t rows, const float* x,
                                std::int64_t vectors, std::int64_t depth, float* y,
                                std::int64_t pitch) {
  in_pairs(x, vectors, depth, y, pitch, [&]<int kVectors>(const float* from, float* to) {
    dot_rows<kVectors>(w, stride, rows, from, depth, to, pitch);
  });
}

template <class T>
MILANE_INLINE void all_sum_rows(const T* w, std::int64_t stride, std::int64_t count, const float* x,
                                std::int64_t vectors, std::int64_t depth, float* y,
                                std::int64_t pitch) {
  in_pairs(x, vectors, depth, y, pitch, [&]<int kVectors>(const float* from, float* to) {
    sum_rows<kVectors>(w, stride, count, from, depth, to, pitch);
  });
}

}  // namespace

void dot_rows_half(const Half* w, std::int64_t stride, std::int64_t rows, const float* x,
                   std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch) {
  all_dot_rows(w, stride, rows, x, vectors, depth, y, pitch);
}
void dot_rows_float(const float* w, std::int64_t stride, std::int64_t rows, const float* x,
                    std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch) {
  all_dot_rows(w, stride, rows, x, vectors, depth, y, pitch);
}
void sum_rows_half(const Half* w, std::int64_t stride, std::int64_t columns, const float* x,
                   std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch) {
  all_sum_rows(w, stride, columns, x, vectors, depth, y, pitch);
}
void sum_rows_float(const float* w, std::int64_t stride, std::int64_t columns, const float* x,
                    std::int64_t vectors, std::int64_t depth, float* y, std::int64_t pitch) {
  all_sum_rows(w, stride, columns, x, vectors, depth, y, pitch);
}

}  // namespace milane::host::MILANE_ISA

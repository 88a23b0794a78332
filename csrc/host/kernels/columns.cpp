// Columns side by side, one in each lane: the bounds of fused attention, and the two passes of a
// fused norm. Sums run in the order that the unfused operations have, bit for bit.
#include "host/kernels/part.h"
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

// Columns pass in groups of registers whose sums stay there while all rows go by. `left` of one
// register's columns are in memory, all of those of more.
template <int kCount, class T>
MILANE_INLINE Vec load_one_of(const T* p, int j, std::int64_t left) {
  return kCount == 1 ? load_up_to(p, left) : load_vec(p + j * kWidth);
}
template <int kCount, class T>
MILANE_INLINE void store_one_of(T* p, int j, Vec v, std::int64_t left) {
  kCount == 1 ? store_up_to(p, v, left) : store_vec(p + j * kWidth, v);
}

// body<registers>(first column, how many are left)
template <int kCount = 8, class Body>
MILANE_INLINE void over_columns(std::int64_t n, const Body& body, std::int64_t i = 0) {
  for (; n - i >= kCount * kWidth; i += kCount * kWidth) body.template operator()<kCount>(i, n - i);
  if constexpr (kCount > 1) {
    over_columns<kCount / 2>(n, body, i);
  } else if (i < n) {
    body.template operator()<1>(i, n - i);
  }
}

// kept[n] <- step(kept, row) for all rows
template <class T, class F>
MILANE_INLINE void over_rows(float* kept, const T* x, std::int64_t stride, std::int64_t rows,
                             std::int64_t n, const F& step) {
  over_columns(n, [&]<int kCount>(std::int64_t i, std::int64_t left) {
    Vec acc[kCount];
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) acc[j] = load_one_of<kCount>(kept + i, j, left);
    for (std::int64_t r = 0; r < rows; ++r) {
      MILANE_UNROLL
      for (int j = 0; j < kCount; ++j)
        acc[j] = step(acc[j], load_one_of<kCount>(x + r * stride + i, j, left));
    }
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) store_one_of<kCount>(kept + i, j, acc[j], left);
  });
}

template <class T>
MILANE_INLINE void add_squares(float* sum, const T* x, std::int64_t stride, std::int64_t rows,
                               std::int64_t n) {
  over_rows(sum, x, stride, rows, n, [](Vec a, Vec v) { return a + rounded<T>(v * v); });
}

template <class T>
MILANE_INLINE void largest_rows(float* largest, const T* x, std::int64_t stride, std::int64_t rows,
                                std::int64_t n) {
  over_rows(largest, x, stride, rows, n,
            [](Vec a, Vec v) { return maximum(a, (Vec)((IntVec)v & 0x7FFFFFFF)); });
}

template <class T>
MILANE_INLINE void divide_rows(T* y, float* sum, const T* x, std::int64_t stride,
                               const float* divisor, std::int64_t rows, std::int64_t n) {
  over_columns(n, [&]<int kCount>(std::int64_t i, std::int64_t left) {
    Vec acc[kCount], by[kCount];
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) {
      acc[j] = load_one_of<kCount>(sum + i, j, left);
      by[j] = load_one_of<kCount>(divisor + i, j, left);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      MILANE_UNROLL
      for (int j = 0; j < kCount; ++j) {
        const Vec v = rounded<T>(load_one_of<kCount>(x + r * stride + i, j, left) / by[j]);
        store_one_of<kCount>(y + r * stride + i, j, v, left);
        acc[j] += rounded<T>(v * v);
      }
    }
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) store_one_of<kCount>(sum + i, j, acc[j], left);
  });
}

template <class T>
MILANE_INLINE void scale_rows(T* y, const T* x, std::int64_t stride, const float* scale,
                              const float* weight, std::int64_t rows, std::int64_t n) {
  over_columns(n, [&]<int kCount>(std::int64_t i, std::int64_t left) {
    Vec by[kCount];
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) by[j] = load_one_of<kCount>(scale + i, j, left);
    for (std::int64_t r = 0; r < rows; ++r) {
      const Vec w = splat(weight != nullptr ? weight[r] : 1.0f);
      MILANE_UNROLL
      for (int j = 0; j < kCount; ++j) {
        Vec v = load_one_of<kCount>(x + r * stride + i, j, left) * by[j];
        if (weight != nullptr) v = rounded<T>(v) * w;
        store_one_of<kCount>(y + r * stride + i, j, v, left);
      }
    }
  });
}

}  // namespace

// panel[depth][width], width a multiple of the register's
float largest_square_sum(const float* panel, std::int64_t depth, std::int64_t width) {
  constexpr int kSums = 4;  // every one waits for itself
  Vec most = {};
  for (std::int64_t j = 0; j < width; j += kWidth, panel += kWidth) {
    Vec sum[kSums] = {};
    std::int64_t k = 0;
    for (; k + kSums <= depth; k += kSums) {
      MILANE_UNROLL
      for (int i = 0; i < kSums; ++i) {
        const Vec v = load_vec(panel + (k + i) * width);
        sum[i] += v * v;
      }
    }
    for (; k < depth; ++k) {
      const Vec v = load_vec(panel + k * width);
      sum[0] += v * v;
    }
    most = maximum(most, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
  float lanes[kWidth];
  store_vec(lanes, most);
  float best = lanes[0];
  for (int i = 1; i < kWidth; ++i) best = lanes[i] > best || lanes[i] != lanes[i] ? lanes[i] : best;
  return best;
}

// All of x[rows][stride], n columns of it.
void add_squares_half(float* sum, const Half* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t n) {
  add_squares(sum, x, stride, rows, n);
}
void add_squares_float(float* sum, const float* x, std::int64_t stride, std::int64_t rows,
                       std::int64_t n) {
  add_squares(sum, x, stride, rows, n);
}
void largest_rows_half(float* largest, const Half* x, std::int64_t stride, std::int64_t rows,
                       std::int64_t n) {
  largest_rows(largest, x, stride, rows, n);
}
void largest_rows_float(float* largest, const float* x, std::int64_t stride, std::int64_t rows,
                        std::int64_t n) {
  largest_rows(largest, x, stride, rows, n);
}
void divide_rows_half(Half* y, float* sum, const Half* x, std::int64_t stride, const float* divisor,
                      std::int64_t rows, std::int64_t n) {
  divide_rows(y, sum, x, stride, divisor, rows, n);
}
void divide_rows_float(float* y, float* sum, const float* x, std::int64_t stride,
                       const float* divisor, std::int64_t rows, std::int64_t n) {
  divide_rows(y, sum, x, stride, divisor, rows, n);
}
void scale_rows_half(Half* y, const Half* x, std::int64_t stride, const float* scale,
                     const float* weight, std::int64_t rows, std::int64_t n) {
  scale_rows(y, x, stride, scale, weight, rows, n);
}
void scale_rows_float(float* y, const float* x, std::int64_t stride, const float* scale,
                      const float* weight, std::int64_t rows, std::int64_t n) {
  scale_rows(y, x, stride, scale, weight, rows, n);
}

}  // namespace milane::host::MILANE_ISA

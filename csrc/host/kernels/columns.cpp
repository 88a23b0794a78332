// Columns side by side, one in each lane: the bounds of fused attention, and the two passes of a
// fused norm. Sums run in the order that the unfused operations have, bit for bit.
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

// y[n] <- x[n], scale[n]: (x * scale) * weight, each product rounded as the result is
template <class T>
MILANE_INLINE void scale_row(T* y, const T* x, const float* scale, float weight, bool weighted,
                             std::size_t n) {
  constexpr bool kIsHalf = sizeof(T) == 2;
  const auto one = [&](Vec v, Vec s) {
    v = v * s;
    if (!weighted) return v;
    return (kIsHalf ? round_half(v) : v) * weight;
  };
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store_vec(y + i, one(load_vec(x + i), load_vec(scale + i)));
  if (i == n) return;
  T part[kWidth] = {}, out[kWidth];
  float factor[kWidth] = {};
  for (std::size_t j = 0; i + j < n; ++j) {
    part[j] = x[i + j];
    factor[j] = scale[i + j];
  }
  store_vec(out, one(load_vec(part), load_vec(factor)));
  for (std::size_t j = 0; i + j < n; ++j) y[i + j] = out[j];
}

// sum[n] += x[n]^2, each square rounded as x is
template <class T>
MILANE_INLINE void squares_row(float* sum, const T* x, std::size_t n) {
  constexpr bool kIsHalf = sizeof(T) == 2;
  const auto square = [](Vec v) { return kIsHalf ? round_half(v * v) : v * v; };
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    store_vec(sum + i, load_vec(sum + i) + square(load_vec(x + i)));
  if (i == n) return;
  T part[kWidth] = {};
  float out[kWidth];
  for (std::size_t j = 0; i + j < n; ++j) part[j] = x[i + j];
  store_vec(out, square(load_vec(part)));
  for (std::size_t j = 0; i + j < n; ++j) sum[i + j] += out[j];
}

// largest[n] <- x[n]
template <class T>
MILANE_INLINE void largest_row(float* largest, const T* x, std::size_t n) {
  const auto size = [](Vec v) { return (Vec)((IntVec)v & 0x7FFFFFFF); };
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    store_vec(largest + i, maximum(load_vec(largest + i), size(load_vec(x + i))));
  if (i == n) return;
  T part[kWidth] = {};
  float best[kWidth] = {};
  for (std::size_t j = 0; i + j < n; ++j) {
    part[j] = x[i + j];
    best[j] = largest[i + j];
  }
  store_vec(best, maximum(load_vec(best), size(load_vec(part))));
  for (std::size_t j = 0; i + j < n; ++j) largest[i + j] = best[j];
}

// y[n] and sum[n] <- x[n], divisor[n]
template <class T>
MILANE_INLINE void divide_row(T* y, float* sum, const T* x, const float* divisor, std::size_t n) {
  constexpr bool kIsHalf = sizeof(T) == 2;
  const auto ratio = [](Vec v, Vec d) { return kIsHalf ? round_half(v / d) : v / d; };
  const auto square = [](Vec v) { return kIsHalf ? round_half(v * v) : v * v; };
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const Vec v = ratio(load_vec(x + i), load_vec(divisor + i));
    store_vec(y + i, v);
    store_vec(sum + i, load_vec(sum + i) + square(v));
  }
  if (i == n) return;
  T part[kWidth] = {}, out[kWidth];
  float by[kWidth], squares[kWidth];
  for (float& value : by) value = 1;
  for (std::size_t j = 0; i + j < n; ++j) {
    part[j] = x[i + j];
    by[j] = divisor[i + j];
  }
  const Vec v = ratio(load_vec(part), load_vec(by));
  store_vec(out, v);
  store_vec(squares, square(v));
  for (std::size_t j = 0; i + j < n; ++j) {
    y[i + j] = out[j];
    sum[i + j] += squares[j];
  }
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

// x[rows][stride], n columns of it
void add_squares_half(float* sum, const Half* x, std::int64_t stride, std::int64_t rows,
                      std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r) squares_row(sum, x + r * stride, n);
}
void add_squares_float(float* sum, const float* x, std::int64_t stride, std::int64_t rows,
                       std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r) squares_row(sum, x + r * stride, n);
}

void largest_rows_half(float* largest, const Half* x, std::int64_t stride, std::int64_t rows,
                       std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r) largest_row(largest, x + r * stride, n);
}
void largest_rows_float(float* largest, const float* x, std::int64_t stride, std::int64_t rows,
                        std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r) largest_row(largest, x + r * stride, n);
}

// y and x [rows][stride]
void divide_rows_half(Half* y, float* sum, const Half* x, std::int64_t stride, const float* divisor,
                      std::int64_t rows, std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    divide_row(y + r * stride, sum, x + r * stride, divisor, n);
}
void divide_rows_float(float* y, float* sum, const float* x, std::int64_t stride,
                       const float* divisor, std::int64_t rows, std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    divide_row(y + r * stride, sum, x + r * stride, divisor, n);
}

// y and x [rows][stride], weight[rows] or null
void scale_rows_half(Half* y, const Half* x, std::int64_t stride, const float* scale,
                     const float* weight, std::int64_t rows, std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    scale_row(y + r * stride, x + r * stride, scale, weight ? weight[r] : 1, weight != nullptr, n);
}
void scale_rows_float(float* y, const float* x, std::int64_t stride, const float* scale,
                      const float* weight, std::int64_t rows, std::size_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    scale_row(y + r * stride, x + r * stride, scale, weight ? weight[r] : 1, weight != nullptr, n);
}

}  // namespace milane::host::MILANE_ISA

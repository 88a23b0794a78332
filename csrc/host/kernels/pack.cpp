// How operands of a matrix product get into panels, and how results leave the accumulators.
#include <cstring>

#include "host/kernels/part.h"
#include "host/kernels/tile.h"
#include "host/kernels/transpose.h"

namespace milane::host::MILANE_ISA {
namespace {

// Every second lane of two registers.
MILANE_INLINE Vec evens(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif defined(MILANE_ISA_v3)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6);
#endif
}

// dst[count] <- src[count][inner]
template <class T>
MILANE_INLINE void pack_strided(float* dst, const T* src, std::int64_t inner, std::int64_t count) {
  std::int64_t i = 0;
  if (inner == 2) {  // one element less than the last register would read past the end
    for (; i + kWidth < count; i += kWidth) {
      store_vec(dst + i, evens(load_vec(src + 2 * i), load_vec(src + 2 * i + kWidth)));
    }
    const T* const rest = src + 2 * i;
    const std::int64_t left = 2 * (count - i) - 1;
    const Vec low = load_part(rest, left < kWidth ? left : kWidth);
    const Vec high = left > kWidth ? load_part(rest + kWidth, left - kWidth) : Vec{};
    return store_part(dst + i, evens(low, high), count - i);
  }
  T gathered[kWidth] = {};
  for (; i < count; i += kWidth) {
    const std::int64_t n = count - i < kWidth ? count - i : kWidth;
    for (std::int64_t j = 0; j < n; ++j) gathered[j] = src[(i + j) * inner];
    if (n == kWidth) {
      store_vec(dst + i, load_vec(gathered));
    } else {
      store_part(dst + i, load_vec(gathered), n);
    }
  }
}

// dst[depth][pitch] <- src[depth][outer], rows of `count` neighbours
template <class T>
MILANE_INLINE void pack_neighbours(float* dst, std::int64_t pitch, const T* src, std::int64_t outer,
                                   std::int64_t count, std::int64_t depth) {
  const std::int64_t whole = count / kWidth * kWidth;
  for (std::int64_t k = 0; k < depth; ++k, dst += pitch, src += outer) {
    for (std::int64_t i = 0; i < whole; i += kWidth) store_vec(dst + i, load_vec(src + i));
    if (whole < count)
      store_part(dst + whole, load_part(src + whole, count - whole), count - whole);
  }
}

// dst[depth][pitch] <- src[count][inner], each row contiguous along the depth: a transposition, in
// squares of registers.
template <class T>
MILANE_INLINE void pack_transposed(float* dst, std::int64_t pitch, const T* src, std::int64_t inner,
                                   std::int64_t count, std::int64_t depth) {
  for (std::int64_t i0 = 0; i0 < count; i0 += kWidth) {
    const std::int64_t columns = count - i0 < kWidth ? count - i0 : kWidth;
    for (std::int64_t k = 0; k < depth; k += kWidth) {
      const std::int64_t steps = depth - k < kWidth ? depth - k : kWidth;
      const T* const from = src + i0 * inner + k;
      float* const to = dst + k * pitch + i0;
      Vec rows[kWidth];
      if (columns == kWidth) {
        MILANE_UNROLL
        for (int i = 0; i < kWidth; ++i) rows[i] = load_up_to(from + i * inner, steps);
        transpose_square(rows);
        MILANE_UNROLL
        for (int s = 0; s < kWidth; ++s) {
          if (s < steps) store_vec(to + s * pitch, rows[s]);
        }
        continue;
      }
      MILANE_UNROLL
      for (int i = 0; i < kWidth; ++i)
        rows[i] = i < columns ? load_part(from + i * inner, steps) : Vec{};
      transpose_square(rows);
      MILANE_UNROLL
      for (int s = 0; s < kWidth; ++s) {
        if (s < steps) store_part(to + s * pitch, rows[s], columns);
      }
    }
  }
}

template <class T>
MILANE_INLINE void pack(float* dst, std::int64_t pitch, const T* src, std::int64_t inner,
                        std::int64_t outer, std::int64_t count, std::int64_t depth) {
  if (count == 1 && pitch == 1) {  // one column is one row
    inner = outer;
    count = depth;
    depth = 1;
  }
  if (inner == 1) return pack_neighbours(dst, pitch, src, outer, count, depth);
  if (outer == 1) return pack_transposed(dst, pitch, src, inner, count, depth);
  for (std::int64_t k = 0; k < depth; ++k)
    pack_strided(dst + k * pitch, src + k * outer, inner, count);
}

// dst[depth / kRun][height][kRun] <- src[rows][stride], each row contiguous along the depth and
// read to its end: rows that follow each other are one stream.
template <class T>
MILANE_INLINE void cut_rows(float* dst, const T* src, std::int64_t stride, std::int64_t rows,
                            std::int64_t depth) {
  constexpr std::int64_t kRun = ProductTile::kRun, kBlock = kProductRows * kRun;
  static_assert(kRun % kWidth == 0);
  for (std::int64_t i = 0; i < rows; ++i, src += stride, dst += kRun) {
    float* to = dst;
    std::int64_t k = 0;
    for (; k + kRun <= depth; k += kRun, to += kBlock) {
      MILANE_UNROLL
      for (std::int64_t j = 0; j < kRun; j += kWidth) store_vec(to + j, load_vec(src + k + j));
    }
    for (; k < depth; k += kWidth, to += kWidth) {
      store_vec(to, load_up_to(src + k, depth - k));
    }
  }
}

// c[rows][ldc] <- acc[rows][lda]
template <class T>
MILANE_INLINE void store(T* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                         const float* row_bias, const float* column_bias, std::int64_t rows,
                         std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; ++i, c += ldc, acc += lda) {
    const Vec row = splat(row_bias != nullptr ? row_bias[i] : 0.0f);
    std::int64_t j = 0;
    for (; j + kWidth <= columns; j += kWidth) {
      Vec v = load_vec(acc + j);
      if (row_bias != nullptr) v += row;
      if (column_bias != nullptr) v += load_vec(column_bias + j);
      store_vec(c + j, v);
    }
    if (j < columns) {
      const std::int64_t rest = columns - j;
      Vec v = load_part(acc + j, rest);
      if (row_bias != nullptr) v += row;
      if (column_bias != nullptr) v += load_part(column_bias + j, rest);
      store_part(c + j, v, rest);
    }
  }
}

}  // namespace

void pack_half(float* dst, std::int64_t pitch, const Half* src, std::int64_t inner,
               std::int64_t outer, std::int64_t count, std::int64_t depth) {
  pack(dst, pitch, src, inner, outer, count, depth);
}
void pack_float(float* dst, std::int64_t pitch, const float* src, std::int64_t inner,
                std::int64_t outer, std::int64_t count, std::int64_t depth) {
  pack(dst, pitch, src, inner, outer, count, depth);
}
void cut_rows_half(float* dst, const Half* src, std::int64_t stride, std::int64_t rows,
                   std::int64_t depth) {
  cut_rows(dst, src, stride, rows, depth);
}
void cut_rows_float(float* dst, const float* src, std::int64_t stride, std::int64_t rows,
                    std::int64_t depth) {
  cut_rows(dst, src, stride, rows, depth);
}
void store_half(Half* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                const float* row_bias, const float* column_bias, std::int64_t rows,
                std::int64_t columns) {
  store(c, ldc, acc, lda, row_bias, column_bias, rows, columns);
}
void store_float(float* c, std::int64_t ldc, const float* acc, std::int64_t lda,
                 const float* row_bias, const float* column_bias, std::int64_t rows,
                 std::int64_t columns) {
  store(c, ldc, acc, lda, row_bias, column_bias, rows, columns);
}

}  // namespace milane::host::MILANE_ISA

// Small planes, many in one call: widened into padded ones, and summed.
#include "host/kernels/part.h"
#include "host/kernels/transpose.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kLanes = 16;  // partial sums of a row (rows.cpp)
constexpr int kVecs = kLanes / kWidth;

// One row of n elements; what lies behind it is not written.
template <class T>
MILANE_INLINE void widen_row(float* dst, const T* src, std::int64_t n) {
  if (n < kWidth) return store_part(dst, load_part(src, n), n);
  for (std::int64_t i = 0; i + kWidth < n; i += kWidth) store_vec(dst + i, load_vec(src + i));
  store_vec(dst + n - kWidth, load_vec(src + n - kWidth));
}

#if defined(MILANE_ISA_v4)
MILANE_INLINE Vec load_lanes(const float* p, __mmask16 some) {
  return _mm512_maskz_loadu_ps(some, p);
}
MILANE_INLINE Vec load_lanes(const Half* p, __mmask16 some) {
  return _mm512_maskz_cvtph_ps(some, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// A plane of rows of at most `pitch` elements, 8 or 16, a register at a time: zeros fill the rest
// of it. Reads up to `end`.
template <class T>
MILANE_INLINE void widen_narrow(float* dst, std::int64_t pitch, const T* src, std::int64_t columns,
                                std::int64_t rows, const T* end) {
  const __mmask16 row = lanes(columns);
  std::int64_t r = 0;
  if (pitch == 8) {
    const auto pair = static_cast<__mmask16>(row | row << 8);
    for (; r + 2 <= rows; r += 2, src += 2 * columns, dst += kWidth) {
      const Vec v = src + kWidth <= end ? load_vec(src) : load_part(src, 2 * columns);
      store_vec(dst, _mm512_maskz_expand_ps(pair, v));
    }
  }
  for (; r < rows; ++r, src += columns, dst += pitch)
    store_vec(dst, src + kWidth <= end ? load_lanes(src, row) : load_part(src, columns));
}
#endif

template <class T>
MILANE_INLINE void widen_planes(float* dst, std::int64_t step, std::int64_t pitch, const T* src,
                                std::int64_t columns, std::int64_t rows, std::int64_t planes) {
#if defined(MILANE_ISA_v4)
  if (columns <= pitch && (pitch == 8 || pitch == 16)) {
    const T* const end = src + planes * rows * columns;
    for (std::int64_t p = 0; p < planes; ++p, dst += step, src += rows * columns)
      widen_narrow(dst, pitch, src, columns, rows, end);
    return;
  }
#endif
  for (std::int64_t p = 0; p < planes; ++p, dst += step) {
    for (std::int64_t r = 0; r < rows; ++r, src += columns)
      widen_row(dst + r * pitch, src, columns);
  }
}

// The sums of kWidth rows of x[count][n], each in the order of `sum` (rows.cpp); past the last row
// the last one again.
template <class T>
MILANE_INLINE Vec sums_of_rows(const T* x, std::int64_t n, std::int64_t count) {
  Vec rows[kWidth];
  MILANE_UNROLL
  for (int r = 0; r < kWidth; ++r, x += r < count ? n : 0) {
    Vec acc[kVecs] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      MILANE_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[v] += load_vec(x + i + v * kWidth);
    }
    MILANE_UNROLL
    for (int v = 0; v < kVecs; ++v, i += kWidth) {
      if (i < n) acc[v] += load_up_to(x + i, n - i);
    }
    MILANE_UNROLL
    for (int half = kVecs / 2; half > 0; half /= 2) {
      MILANE_UNROLL
      for (int v = 0; v < half; ++v) acc[v] += acc[v + half];
    }
    rows[r] = acc[0];
  }
  return sums_of_lanes(rows);
}

template <class T>
MILANE_INLINE void sum_each(float* y, const T* x, std::int64_t n, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows; i += kWidth) {
    const std::int64_t count = rows - i < kWidth ? rows - i : kWidth;
    store_part(y + i, sums_of_rows(x + i * n, n, count), count);
  }
}

}  // namespace

void widen_planes_half(float* dst, std::int64_t step, std::int64_t pitch, const Half* src,
                       std::int64_t columns, std::int64_t rows, std::int64_t planes) {
  widen_planes(dst, step, pitch, src, columns, rows, planes);
}
void widen_planes_float(float* dst, std::int64_t step, std::int64_t pitch, const float* src,
                        std::int64_t columns, std::int64_t rows, std::int64_t planes) {
  widen_planes(dst, step, pitch, src, columns, rows, planes);
}
void sum_each_half(float* y, const Half* x, std::int64_t n, std::int64_t rows) {
  sum_each(y, x, n, rows);
}
void sum_each_float(float* y, const float* x, std::int64_t n, std::int64_t rows) {
  sum_each(y, x, n, rows);
}

}  // namespace milane::host::MILANE_ISA

// A square of registers, transposed: first the squares of 4 x 4 within quarters of 128 bits, which
// cost least (measured: a quarter of what lanes of any two places cost), then the quarters.
#pragma once

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

// In every quarter of two registers: the lanes of their lower halves in turn, those of their upper
// ones; the pairs of their lower halves, and those of their upper ones.
#if defined(MILANE_ISA_v4)
#define MILANE_QUARTERS(a, b, i, j, k, l)                                                    \
  __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, \
                          l + 8, i + 12, j + 12, k + 12, l + 12)
#elif defined(MILANE_ISA_v3)
#define MILANE_QUARTERS(a, b, i, j, k, l) \
  __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4)
#else
#define MILANE_QUARTERS(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#endif
MILANE_INLINE Vec zip_low(Vec a, Vec b) { return MILANE_QUARTERS(a, b, 0, kWidth, 1, kWidth + 1); }
MILANE_INLINE Vec zip_high(Vec a, Vec b) {
  return MILANE_QUARTERS(a, b, 2, kWidth + 2, 3, kWidth + 3);
}
MILANE_INLINE Vec pairs_low(Vec a, Vec b) {
  return MILANE_QUARTERS(a, b, 0, 1, kWidth, kWidth + 1);
}
MILANE_INLINE Vec pairs_high(Vec a, Vec b) {
  return MILANE_QUARTERS(a, b, 2, 3, kWidth + 2, kWidth + 3);
}
#undef MILANE_QUARTERS

// rows[q * 4], q < kWidth / 4: quarter q of row p becomes quarter p of row q.
MILANE_INLINE void transpose_quarters([[maybe_unused]] Vec* rows) {
#if defined(MILANE_ISA_v4)
  const auto even = [](Vec a, Vec b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  };
  const auto odd = [](Vec a, Vec b) {
    return __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                                   31);
  };
  const Vec a = even(rows[0], rows[4]), b = odd(rows[0], rows[4]);
  const Vec c = even(rows[8], rows[12]), d = odd(rows[8], rows[12]);
  rows[0] = even(a, c);
  rows[4] = even(b, d);
  rows[8] = odd(a, c);
  rows[12] = odd(b, d);
#elif defined(MILANE_ISA_v3)
  const Vec a = rows[0], b = rows[4];
  rows[0] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
  rows[4] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
#endif
}

// rows[kWidth] transposed in place.
MILANE_INLINE void transpose_square(Vec* rows) {
  MILANE_UNROLL
  for (int q = 0; q < kWidth; q += 4) {
    const Vec a = zip_low(rows[q], rows[q + 1]), b = zip_high(rows[q], rows[q + 1]);
    const Vec c = zip_low(rows[q + 2], rows[q + 3]), d = zip_high(rows[q + 2], rows[q + 3]);
    rows[q] = pairs_low(a, c);
    rows[q + 1] = pairs_high(a, c);
    rows[q + 2] = pairs_low(b, d);
    rows[q + 3] = pairs_high(b, d);
  }
  MILANE_UNROLL
  for (int i = 0; i < 4; ++i) transpose_quarters(rows + i);
}

// The sum of each register's lanes, upper half to lower half until one is left: lane i is that of
// sums[i].
MILANE_INLINE Vec sums_of_lanes(Vec* sums) {
  transpose_square(sums);
  MILANE_UNROLL
  for (int half = kWidth / 2; half > 0; half /= 2) {
    MILANE_UNROLL
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

}  // namespace milane::host::MILANE_ISA

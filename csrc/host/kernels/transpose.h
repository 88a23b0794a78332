// A square of registers, transposed.
#pragma once

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

// The lanes of two registers in turn: those of their lower halves, and those of their upper ones.
MILANE_INLINE Vec zip_low(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(MILANE_ISA_v3)
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
MILANE_INLINE Vec zip_high(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
#elif defined(MILANE_ISA_v3)
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// rows[kWidth] transposed in place. Every round moves the highest bit of the row into the lowest of
// the column and the other way round: after as many rounds as there are bits, all are exchanged.
MILANE_INLINE void transpose_square(Vec* rows) {
  constexpr int kHalf = kWidth / 2;
  MILANE_UNROLL
  for (int round = 1; round < kWidth; round *= 2) {
    Vec next[kWidth];
    MILANE_UNROLL
    for (int i = 0; i < kHalf; ++i) {
      next[2 * i] = zip_low(rows[i], rows[i + kHalf]);
      next[2 * i + 1] = zip_high(rows[i], rows[i + kHalf]);
    }
    MILANE_UNROLL
    for (int i = 0; i < kWidth; ++i) rows[i] = next[i];
  }
}

}  // namespace milane::host::MILANE_ISA

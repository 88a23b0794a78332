// The elements of two registers of 128 bits in turn: of their lower halves, and of their upper
// ones.
#pragma once

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

typedef std::uint16_t Halves __attribute__((vector_size(16)));
typedef std::uint32_t Floats __attribute__((vector_size(16)));

MILANE_INLINE Halves zip_low(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
MILANE_INLINE Halves zip_high(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
MILANE_INLINE Floats zip_low(Floats a, Floats b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
MILANE_INLINE Floats zip_high(Floats a, Floats b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}

}  // namespace milane::host::MILANE_ISA

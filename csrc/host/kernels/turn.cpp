// Sixteen rows of weights as a panel: a transposition of 16-bit elements, which stay as they are.
#include <cstring>

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

typedef std::uint16_t Lanes __attribute__((vector_size(16)));
constexpr std::int64_t kLanes = 8, kRows = 16;

MILANE_INLINE Lanes zip_low(Lanes a, Lanes b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
MILANE_INLINE Lanes zip_high(Lanes a, Lanes b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

// to[8][16] <- from[8], rows of eight elements. Each of three rounds moves the highest bit of the
// row into the lowest of the column.
MILANE_INLINE void turn_square(Half* to, const Half* from, std::int64_t stride) {
  Lanes rows[kLanes];
  MILANE_UNROLL
  for (std::int64_t i = 0; i < kLanes; ++i) {
    std::memcpy(&rows[i], from + i * stride, sizeof(Lanes));
  }
  MILANE_UNROLL
  for (int round = 0; round < 3; ++round) {
    Lanes next[kLanes];
    MILANE_UNROLL
    for (std::int64_t i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = zip_low(rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = zip_high(rows[i], rows[i + kLanes / 2]);
    }
    MILANE_UNROLL
    for (std::int64_t i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
  MILANE_UNROLL
  for (std::int64_t i = 0; i < kLanes; ++i) {
    std::memcpy(to + i * kRows, &rows[i], sizeof(Lanes));
  }
}

}  // namespace

void turn_rows(Half* dst, const Half* src, std::int64_t stride, std::int64_t count) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    turn_square(dst + k * kRows, src + k, stride);
    turn_square(dst + k * kRows + kLanes, src + kLanes * stride + k, stride);
  }
  for (; k < count; ++k) {
    for (std::int64_t i = 0; i < kRows; ++i) dst[k * kRows + i] = src[i * stride + k];
  }
}

}  // namespace milane::host::MILANE_ISA

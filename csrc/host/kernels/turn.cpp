// Sixteen rows of weights as a panel: a transposition of 16-bit elements, which stay as they are.
#include <cstring>

#include "host/kernels/zip.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr std::int64_t kLanes = 8, kRows = 16;

// to[8][16] <- from[8], rows of eight elements. Each of three rounds moves the highest bit of the
// row into the lowest of the column.
MILANE_INLINE void turn_square(Half* to, const Half* from, std::int64_t stride) {
  Halves rows[kLanes];
  MILANE_UNROLL
  for (std::int64_t i = 0; i < kLanes; ++i) {
    std::memcpy(&rows[i], from + i * stride, sizeof(Halves));
  }
  MILANE_UNROLL
  for (int round = 0; round < 3; ++round) {
    Halves next[kLanes];
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
    std::memcpy(to + i * kRows, &rows[i], sizeof(Halves));
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

// Two rows become one, whose elements are theirs in turn.
#include <cstring>

#include "host/kernels/zip.h"

namespace milane::host::MILANE_ISA {
namespace {

// A register of each row from i on.
template <class Lanes, class T>
MILANE_INLINE void zip_lanes(T* y, const T* a, const T* b, std::int64_t i) {
  constexpr std::int64_t kLanes = sizeof(Lanes) / sizeof(T);
  Lanes even, odd;
  std::memcpy(&even, a + i, sizeof(Lanes));
  std::memcpy(&odd, b + i, sizeof(Lanes));
  const Lanes low = zip_low(even, odd), high = zip_high(even, odd);
  std::memcpy(y + 2 * i, &low, sizeof(Lanes));
  std::memcpy(y + 2 * i + kLanes, &high, sizeof(Lanes));
}

template <class Lanes, class T>
MILANE_INLINE void zip_rows(T* y, std::int64_t y_stride, const T* a, std::int64_t a_stride,
                            const T* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n) {
  constexpr std::int64_t kLanes = sizeof(Lanes) / sizeof(T);
  for (; rows > 0; --rows, y += y_stride, a += a_stride, b += b_stride) {
    if (n < kLanes) {
      for (std::int64_t i = 0; i < n; ++i) {
        y[2 * i] = a[i];
        y[2 * i + 1] = b[i];
      }
      continue;
    }
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) zip_lanes<Lanes>(y, a, b, i);
    if (i < n) zip_lanes<Lanes>(y, a, b, n - kLanes);  // some of them once more
  }
}

}  // namespace

void zip_rows_half(Half* y, std::int64_t y_stride, const Half* a, std::int64_t a_stride,
                   const Half* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n) {
  zip_rows<Halves>(y, y_stride, a, a_stride, b, b_stride, rows, n);
}
void zip_rows_float(float* y, std::int64_t y_stride, const float* a, std::int64_t a_stride,
                    const float* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n) {
  zip_rows<Floats>(y, y_stride, a, a_stride, b, b_stride, rows, n);
}

}  // namespace milane::host::MILANE_ISA

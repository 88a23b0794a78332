// Packed weights: how rows get into panels of 16.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "host/gemm.h"
#include "host/kernels/kernels.h"

namespace milane::host {
namespace {

// to[count][16] of panel `index` from rows of `from`.
template <class T>
void pack_panel(const PackedView& to, const MatrixRef& from, std::int64_t k0, std::int64_t count,
                std::int64_t index) {
  const std::int64_t row = index * kPanel;
  const std::int64_t rows = std::min(kPanel, to.rows - row);
  T* out = reinterpret_cast<T*>(to.data) + (index * to.depth + k0) * kPanel;
  const T* const src = static_cast<const T*>(from.data) + row * from.row_stride;
  if (rows == kPanel && from.column_stride == 1) {
    if constexpr (std::is_same_v<T, Half>) {
      return kernels().turn_rows(out, src, from.row_stride, count);
    } else {
      return kernels().pack_float(out, kPanel, src, from.row_stride, 1, kPanel, count);
    }
  }
  if (rows == kPanel && from.row_stride == 1) {
    for (std::int64_t k = 0; k < count; ++k) {
      std::memcpy(out + k * kPanel, src + k * from.column_stride, kPanel * sizeof(T));
    }
    return;
  }
  for (std::int64_t k = 0; k < count; ++k, out += kPanel) {
    for (std::int64_t i = 0; i < rows; ++i)
      out[i] = src[i * from.row_stride + k * from.column_stride];
    for (std::int64_t i = rows; i < kPanel; ++i) out[i] = T{};
  }
}

}  // namespace

std::size_t packed_bytes_of(DType dtype, std::int64_t rows, std::int64_t depth) {
  if (dtype == DType::kBf16) depth += depth % 2;
  return static_cast<std::size_t>(((rows + kPanel - 1) / kPanel * kPanel) * depth) *
         dtype_size(dtype);
}

void pack_rows(const PackedView& to, const MatrixRef& from, std::int64_t k0, std::int64_t count) {
  const std::int64_t grain = std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(count, 1));
  parallel_for((to.rows + kPanel - 1) / kPanel, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      if (to.dtype == DType::kFp16) {
        pack_panel<Half>(to, from, k0, count, p);
      } else {
        pack_panel<float>(to, from, k0, count, p);
      }
    }
  });
}

}  // namespace milane::host

#include "bridge/weight_blob.h"

#include <algorithm>
#include <span>
#include <string>

#include "blob/writer.h"
#include "core/error.h"
#include "core/half.h"

namespace milane::bridge {
namespace {

// dst (C, R) = src (R, C) transposed and rounded; by tiles, which stay in the cache.
void transpose_to_half(Half* dst, const float* src, std::size_t R, std::size_t C) {
  constexpr std::size_t kTile = 32;
  float column[kTile];
  for (std::size_t r0 = 0; r0 < R; r0 += kTile) {
    const std::size_t n = std::min(kTile, R - r0);
    for (std::size_t c0 = 0; c0 < C; c0 += kTile) {
      for (std::size_t c = c0; c < std::min(c0 + kTile, C); ++c) {
        for (std::size_t r = 0; r < n; ++r) column[r] = src[(r0 + r) * C + c];
        convert_float_to_half(dst + c * R + r0, column, n);
      }
    }
  }
}

}  // namespace

std::vector<std::byte> weight_blob(const float* src, int rows, int cols, bool transposed) {
  if (src == nullptr) throw Error(ErrorCode::kInvalidArgument, "expected floats, got NULL");
  if (rows < 1 || cols < 1) {
    throw Error(ErrorCode::kInvalidArgument, "expected at least one row and column, got " +
                                                 std::to_string(rows) + " x " +
                                                 std::to_string(cols));
  }
  const auto R = static_cast<std::size_t>(rows), C = static_cast<std::size_t>(cols);
  std::vector<Half> halves(R * C);
  if (transposed) {
    transpose_to_half(halves.data(), src, R, C);
  } else {
    convert_float_to_half(halves.data(), src, R * C);
  }
  blob::BlobWriter writer;
  writer.add(DType::kFp16, std::as_bytes(std::span(halves)), static_cast<std::int64_t>(R * C));
  return writer.build();
}

}  // namespace milane::bridge

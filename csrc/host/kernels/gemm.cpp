// The register tile of every matrix product, and how its operands get in and its result out.
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kColumns = kTileColumns / kWidth;

}  // namespace

// a[depth][lda], b[depth][nr], acc[mr][nr]
void gemm_tile(const float* a, std::int64_t lda, const float* b, std::int64_t depth, float* acc,
               bool first) {
  Vec c[kTileRows][kColumns];
  MILANE_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      c[i][j] = first ? Vec{} : load_vec(acc + i * kTileColumns + j * kWidth);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k, a += lda, b += kTileColumns) {
    Vec row[kColumns];
    MILANE_UNROLL
    for (int j = 0; j < kColumns; ++j) row[j] = load_vec(b + j * kWidth);
    MILANE_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const Vec x = splat(a[i]);
      MILANE_UNROLL
      for (int j = 0; j < kColumns; ++j) c[i][j] = multiply_add(x, row[j], c[i][j]);
    }
  }
  MILANE_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kColumns; ++j) store_vec(acc + i * kTileColumns + j * kWidth, c[i][j]);
  }
}

}  // namespace milane::host::MILANE_ISA

// The register tile of each instruction set.
#pragma once

#include "host/kernels/kernels.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

#if defined(MILANE_ISA_v4)
constexpr int kConvColumns = 14, kConvPanels = 2;  // 28 accumulators of 32 registers
#elif defined(MILANE_ISA_v3)
constexpr int kConvColumns = 6, kConvPanels = 1;  // 12 of 16
#elif defined(MILANE_ISA_v2)
constexpr int kConvColumns = 2, kConvPanels = 1;  // 8 of 16
#else
constexpr int kConvColumns = 6, kConvPanels = 1;  // 24 of 32
#endif

#if defined(MILANE_ISA_v4)
constexpr int kTileRows = 8, kTileColumns = 32;  // 16 accumulators of 32 registers
#elif defined(MILANE_ISA_v3)
constexpr int kTileRows = 4, kTileColumns = 16;  // 8 of 16: as many as hide the latency
#elif defined(MILANE_ISA_v2)
constexpr int kTileRows = 4, kTileColumns = 8;
#else
constexpr int kTileRows = 8, kTileColumns = 8;  // 16 of 32
#endif

// Of products with packed weights, whose lanes are columns too.
constexpr int kProductRows = kConvColumns, kProductPanels = kConvPanels;

// c += a[depth][lda]^T b[depth][ldb], of the first elements and registers of either's rows.
template <int rows, int vecs>
MILANE_INLINE void add_products(Vec (&c)[rows][vecs], const float* a, std::int64_t lda,
                                const float* b, std::int64_t ldb, std::int64_t depth) {
  for (std::int64_t k = 0; k < depth; ++k, a += lda, b += ldb) {
    Vec row[vecs];
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j) row[j] = load_vec(b + j * kWidth);
    MILANE_UNROLL
    for (int i = 0; i < rows; ++i) {
      const Vec x = splat(a[i]);
      MILANE_UNROLL
      for (int j = 0; j < vecs; ++j) c[i][j] = multiply_add(x, row[j], c[i][j]);
    }
  }
}

}  // namespace milane::host::MILANE_ISA

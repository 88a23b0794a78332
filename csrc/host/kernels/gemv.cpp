// One packed panel of 16 rows times a vector. Several accumulators along the depth: one chain of
// dependent multiply-adds would wait for its own latency instead of for memory. No software
// prefetch: one sequential stream does better without (measured, up to 1.8 times).
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kPanelRows = 16;
constexpr int kVecs = kPanelRows / kWidth;           // registers of one column of the panel
constexpr int kChains = kVecs >= 4 ? 2 : 8 / kVecs;  // 8 accumulators in all

// w[depth][16], x[depth], y[16]
template <class T>
MILANE_INLINE void panel(const T* w, const float* x, std::int64_t depth, float* y) {
  Vec acc[kChains][kVecs] = {};
  std::int64_t k = 0;
  for (; k + kChains <= depth; k += kChains) {
    MILANE_UNROLL
    for (int c = 0; c < kChains; ++c) {
      const T* column = w + (k + c) * kPanelRows;
      const Vec value = splat(x[k + c]);
      MILANE_UNROLL
      for (int j = 0; j < kVecs; ++j) {
        acc[c][j] = multiply_add(load_vec(column + j * kWidth), value, acc[c][j]);
      }
    }
  }
  for (; k < depth; ++k) {
    const Vec value = splat(x[k]);
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      acc[0][j] = multiply_add(load_vec(w + k * kPanelRows + j * kWidth), value, acc[0][j]);
    }
  }
  MILANE_UNROLL
  for (int step = kChains / 2; step > 0; step /= 2) {
    MILANE_UNROLL
    for (int c = 0; c < step; ++c) {
      MILANE_UNROLL
      for (int j = 0; j < kVecs; ++j) acc[c][j] += acc[c + step][j];
    }
  }
  MILANE_UNROLL
  for (int j = 0; j < kVecs; ++j) store_vec(y + j * kWidth, load_vec(y + j * kWidth) + acc[0][j]);
}

}  // namespace

void gemv_panel_half(const Half* w, const float* x, std::int64_t depth, float* y) {
  panel(w, x, depth, y);
}
void gemv_panel_float(const float* w, const float* x, std::int64_t depth, float* y) {
  panel(w, x, depth, y);
}

}  // namespace milane::host::MILANE_ISA

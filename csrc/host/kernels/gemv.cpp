// Packed panels of 16 rows times a vector, or a few. Several accumulators, of one vector along the
// depth, of several side by side: one chain of dependent multiply-adds would wait for its own
// latency instead of for memory.
#include "core/prefetch.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kPanelRows = 16;
constexpr int kVecs = kPanelRows / kWidth;  // registers of one column of the panel
constexpr int kChains = 8 / kVecs;          // 8 accumulators in all

// Columns of `kPanels` panels that pass side by side.
template <int kPanels, int kColumns, class T>
MILANE_INLINE void bring_nearer(const T* w) {
  constexpr std::int64_t kBytes = kColumns * kPanelRows * sizeof(T);
  MILANE_UNROLL
  for (std::int64_t at = 0; at < kBytes; at += 64)
    __builtin_prefetch(reinterpret_cast<const char*>(w) + kAhead / kPanels + at);
}

// w[depth][16], x[depth], y[16]
template <class T>
MILANE_INLINE void panel(const T* w, const float* x, std::int64_t depth, float* y) {
  Vec acc[kChains][kVecs] = {};
  std::int64_t k = 0;
  for (; k + kChains <= depth; k += kChains) {
    bring_nearer<1, kChains>(w + k * kPanelRows);
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

// Registers hold kPanels panels of this many vectors and the panels' columns.
#if defined(MILANE_ISA_v4)
constexpr int kAccumulators = 16;
#elif defined(MILANE_ISA_v3)
constexpr int kAccumulators = 8;
#elif defined(MILANE_ISA_v2)
constexpr int kAccumulators = 8;
#else
constexpr int kAccumulators = 16;
#endif

// kPanels packed panels times kCount of the vectors; y[kCount][pitch]
template <int kPanels, int kCount, class T>
MILANE_INLINE void panel_tile(const T* w, const float* x, std::int64_t stride, std::int64_t depth,
                              float* y, std::int64_t pitch) {
  Vec acc[kPanels][kCount][kVecs] = {};
  const auto column = [&](std::int64_t k) {
    MILANE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const T* const from = w + (p * depth + k) * kPanelRows;
      Vec rows[kVecs];
      MILANE_UNROLL
      for (int v = 0; v < kVecs; ++v) rows[v] = load_vec(from + v * kWidth);
      MILANE_UNROLL
      for (int j = 0; j < kCount; ++j) {
        const Vec value = splat(x[k * stride + j]);
        MILANE_UNROLL
        for (int v = 0; v < kVecs; ++v) acc[p][j][v] = multiply_add(rows[v], value, acc[p][j][v]);
      }
    }
  };
  std::int64_t k = 0;
  for (; k + 2 <= depth; k += 2) {  // a cache line of halves
    MILANE_UNROLL
    for (int p = 0; p < kPanels; ++p) bring_nearer<kPanels, 2>(w + (p * depth + k) * kPanelRows);
    column(k);
    column(k + 1);
  }
  if (k < depth) column(k);
  MILANE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) {
      MILANE_UNROLL
      for (int v = 0; v < kVecs; ++v)
        store_vec(y + j * pitch + p * kPanelRows + v * kWidth, acc[p][j][v]);
    }
  }
}

// kCount of the vectors, as many panels at a time as there are registers for
template <int kCount, class T>
MILANE_INLINE void some_vectors(const T* w, std::int64_t panels, const float* x,
                                std::int64_t stride, std::int64_t depth, float* y) {
  constexpr int kFit = kAccumulators / (kCount * kVecs);
  constexpr int kAtOnce = kFit > 4 ? 4 : kFit < 1 ? 1 : kFit;
  const std::int64_t pitch = panels * kPanelRows;
  std::int64_t p = 0;
  for (; p + kAtOnce <= panels; p += kAtOnce) {
    panel_tile<kAtOnce, kCount>(w + p * depth * kPanelRows, x, stride, depth, y + p * kPanelRows,
                                pitch);
  }
  for (; p < panels; ++p)
    panel_tile<1, kCount>(w + p * depth * kPanelRows, x, stride, depth, y + p * kPanelRows, pitch);
}

// w[panels][depth][16], x[depth][count], y[count][panels][16]
template <class T>
MILANE_INLINE void panels_times(const T* w, std::int64_t panels, const float* x, std::int64_t count,
                                std::int64_t depth, float* y) {
  constexpr int kMost = kAccumulators / kVecs;
  std::int64_t j = 0;
  const auto pass = [&]<int kCount>() {
    some_vectors<kCount>(w, panels, x + j, count, depth, y + j * panels * kPanelRows);
    j += kCount;
  };
  if constexpr (kMost >= 16) {
    while (count - j >= 16) pass.template operator()<16>();
  }
  if constexpr (kMost >= 8) {
    while (count - j >= 8) pass.template operator()<8>();
  }
  if constexpr (kMost >= 4) {
    while (count - j >= 4) pass.template operator()<4>();
  }
  if (count - j == 3) pass.template operator()<3>();
  while (count - j >= 2) pass.template operator()<2>();
  if (j < count) pass.template operator()<1>();
}

}  // namespace

void gemm_panels_half(const Half* w, std::int64_t panels, const float* x, std::int64_t count,
                      std::int64_t depth, float* y) {
  panels_times(w, panels, x, count, depth, y);
}
void gemm_panels_float(const float* w, std::int64_t panels, const float* x, std::int64_t count,
                       std::int64_t depth, float* y) {
  panels_times(w, panels, x, count, depth, y);
}
void gemv_panel_half(const Half* w, const float* x, std::int64_t depth, float* y) {
  panel(w, x, depth, y);
}
void gemv_panel_float(const float* w, const float* x, std::int64_t depth, float* y) {
  panel(w, x, depth, y);
}

}  // namespace milane::host::MILANE_ISA

// The register tile of convolutions: lanes are output channels, so that a tile may be any number of
// neighbouring columns and reads its input wherever a tap finds it, without a copy per tap.
#include "host/kernels/following.h"
#include "host/kernels/part.h"
#include "host/kernels/tile.h"
#include "host/kernels/transpose.h"

namespace milane::host::MILANE_ISA {

namespace {

constexpr int kRows = static_cast<int>(kPanel);
constexpr int kVecs = kRows / kWidth;  // registers of one column of a panel
static_assert(kConvColumns <= kRows);

// acc[rows][16], with `columns` columns that mean something.
template <class T, int columns>
void finish(const ConvTile& t, const float* acc, const float* bias, bool relu) {
  T* y = static_cast<T*>(t.y);
  for (std::int64_t i = 0; i < t.rows; ++i, acc += kRows, y += t.row_stride) {
    MILANE_UNROLL
    for (int j = 0; j < columns; j += kWidth) {
      Vec v = load_vec(acc + j);
      if (bias != nullptr) v += splat(bias[i]);
      if (relu) v = rectify<T>(v);
      if (j + kWidth <= columns) {
        store_vec(y + j, v);
      } else {
        store_part(y + j, v, columns % kWidth);
      }
    }
  }
}

// space[0], [panels * 16][16], through the operations that follow, and out.
template <class T, int columns, int panels>
void leave(const ConvTile& t, float (&space)[kFollowing + 1][panels * kRows * kRows]) {
  const bool relu = is_relu(t.after, t.steps);
  if (t.steps == 0 || relu) return finish<T, columns>(t, space[0], t.bias, relu);
  for (std::int64_t i = 0; i < t.rows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < columns; j += kWidth) {
      float* const at = space[0] + i * kRows + j;
      Vec v = load_vec(at);
      if (t.bias != nullptr) v += splat(t.bias[i]);
      store_vec(at, sizeof(T) == 2 ? round_half(v) : v);
    }
  }
  const float* const result = follow(t.after, t.steps, space, static_cast<int>(t.rows) * kRows);
  finish<T, columns>(t, result, nullptr, false);
}

template <class T, int columns, int panels>
void tile(const ConvTile& t, const T* weights) {
  Vec c[panels][kVecs][columns] = {};
  const char* next = static_cast<const char*>(t.next);
  for (std::int64_t n = 0; n < t.taps; ++n) {
    const float* x = t.tap[n].x + t.column;
    const T* w = weights + t.tap[n].weight;
    for (std::int64_t k = 0; k < t.channels; ++k, x += t.pitch, w += kRows, next += t.next_step) {
      Vec a[panels][kVecs];
      MILANE_UNROLL
      for (int p = 0; p < panels; ++p) {
        __builtin_prefetch(next + p * t.next_apart);
        MILANE_UNROLL
        for (int v = 0; v < kVecs; ++v) a[p][v] = load_vec(w + p * t.panel + v * kWidth);
      }
      MILANE_UNROLL
      for (int j = 0; j < columns; ++j) {
        const Vec value = splat(x[j]);
        MILANE_UNROLL
        for (int p = 0; p < panels; ++p) {
          MILANE_UNROLL
          for (int v = 0; v < kVecs; ++v) c[p][v][j] = multiply_add(value, a[p][v], c[p][v][j]);
        }
      }
    }
  }
  alignas(64) float space[kFollowing + 1][panels * kRows * kRows];
  MILANE_UNROLL
  for (int p = 0; p < panels; ++p) {
    MILANE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      MILANE_UNROLL
      for (int first = 0; first < columns; first += kWidth) {
        Vec r[kWidth];
        MILANE_UNROLL
        for (int j = 0; j < kWidth; ++j) r[j] = first + j < columns ? c[p][v][first + j] : Vec{};
        transpose_square(r);
        MILANE_UNROLL
        for (int i = 0; i < kWidth; ++i)
          store_vec(space[0] + (p * kRows + v * kWidth + i) * kRows + first, r[i]);
      }
    }
  }
  t.half ? leave<Half, columns, panels>(t, space) : leave<float, columns, panels>(t, space);
}

template <class T, int panels, int columns = kConvColumns>
void dispatch(const ConvTile& t, const T* weights) {
  if constexpr (columns > 1) {
    if (t.columns < columns) return dispatch<T, panels, columns - 1>(t, weights);
  }
  tile<T, columns, panels>(t, weights);
}

template <class T>
MILANE_INLINE void any_panels(const ConvTile& t, const T* weights) {
  if (kConvPanels == 2 && t.panels == 2) return dispatch<T, kConvPanels>(t, weights);
  dispatch<T, 1>(t, weights);
}

}  // namespace

void conv_tile_half(const ConvTile& t, const Half* weights) { any_panels(t, weights); }
void conv_tile_float(const ConvTile& t, const float* weights) { any_panels(t, weights); }

}  // namespace milane::host::MILANE_ISA

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

// The sums of a tile: biases, what follows, and out, turned. Until then lanes are output channels,
// none of them idle.
template <class T, int columns, int panels>
MILANE_INLINE void leave(const ConvTile& t, Vec (&c)[panels][kVecs][columns]) {
  const bool relu = is_relu(t.after, t.steps);
  MILANE_UNROLL
  for (int p = 0; p < panels; ++p) {
    MILANE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      const std::int64_t row = p * kRows + v * kWidth, left = t.rows - row;
      Vec bias{};
      if (t.bias != nullptr && left > 0) bias = load_up_to(t.bias + row, left);
      MILANE_UNROLL
      for (int j = 0; j < columns; ++j) {
        if (t.bias != nullptr) c[p][v][j] += bias;
        if (relu) c[p][v][j] = rectify<T>(c[p][v][j]);
      }
    }
  }
  if (t.steps > 0 && !relu) {
    constexpr int kCount = panels * kVecs * columns * kWidth;
    alignas(64) float space[kFollowing + 1][kCount];
    const auto place = [](int p, int v, int j) { return ((p * kVecs + v) * columns + j) * kWidth; };
    MILANE_UNROLL
    for (int p = 0; p < panels; ++p) {
      MILANE_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        MILANE_UNROLL
        for (int j = 0; j < columns; ++j) {
          const Vec sum = c[p][v][j];
          store_vec(space[0] + place(p, v, j), rounded<T>(sum));
        }
      }
    }
    const float* const result = follow(t.after, t.steps, space, kCount);
    MILANE_UNROLL
    for (int p = 0; p < panels; ++p) {
      MILANE_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        MILANE_UNROLL
        for (int j = 0; j < columns; ++j) c[p][v][j] = load_vec(result + place(p, v, j));
      }
    }
  }
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
        const std::int64_t row = p * kRows + v * kWidth;
        T* const y = static_cast<T*>(t.y) + row * t.row_stride + first;
        MILANE_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          if (row + i >= t.rows) break;
          if (first + kWidth <= columns) {
            store_vec(y + i * t.row_stride, r[i]);
          } else {
            store_part(y + i * t.row_stride, r[i], columns - first);
          }
        }
      }
    }
  }
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
  t.half ? leave<Half>(t, c) : leave<float>(t, c);
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

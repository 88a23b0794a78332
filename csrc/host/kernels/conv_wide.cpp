// The other register tile of convolutions: lanes are neighbouring columns, so that nothing is
// turned before it is stored. For lines that fill its registers; conv.cpp has the one for any line.
#include "host/kernels/following.h"
#include "host/kernels/part.h"
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {

namespace {

template <class T, int vecs>
MILANE_INLINE void store_row(const ConvTile& t, std::int64_t row, const Vec (&v)[vecs]) {
  T* const y = static_cast<T*>(t.y) + row * t.row_stride;
  MILANE_UNROLL
  for (int j = 0; j < vecs; ++j) {
    store_up_to(y + j * kWidth, v[j], t.columns - j * kWidth);
  }
}

template <class T, int vecs>
MILANE_INLINE void leave(const ConvTile& t, Vec (&c)[kTileRows][vecs]) {
  const bool relu = is_relu(t.after, t.steps);
  alignas(64) float space[kFollowing + 1][kTileRows * vecs * kWidth];
  MILANE_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j) {
      if (t.bias != nullptr && i < t.rows) c[i][j] += splat(t.bias[i]);
      if (relu) c[i][j] = rectify<T>(c[i][j]);
    }
    if (t.steps == 0 || relu) {
      if (i < t.rows) store_row<T, vecs>(t, i, c[i]);
      continue;
    }
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j)
      store_vec(space[0] + (i * vecs + j) * kWidth, rounded<T>(c[i][j]));
  }
  if (t.steps == 0 || relu) return;
  const float* const result =
      follow(t.after, t.steps, space, static_cast<int>(t.rows) * vecs * kWidth);
  for (std::int64_t i = 0; i < t.rows; ++i) {
    Vec v[vecs];
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j) v[j] = load_vec(result + (i * vecs + j) * kWidth);
    store_row<T, vecs>(t, i, v);
  }
}

// The most frequent case: a whole tile, and nothing but the bias and the rounding.
template <class T, int vecs>
MILANE_INLINE void store(const ConvTile& t, Vec (&c)[kTileRows][vecs]) {
  T* y = static_cast<T*>(t.y);
  MILANE_UNROLL
  for (int i = 0; i < kTileRows; ++i, y += t.row_stride) {
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j)
      store_vec(y + j * kWidth, t.bias != nullptr ? c[i][j] + splat(t.bias[i]) : c[i][j]);
  }
}

template <int vecs>
void tile(const ConvTile& t, const float* weights) {
  Vec c[kTileRows][vecs] = {};
  for (std::int64_t n = 0; n < t.taps; ++n) {
    add_products(c, weights + t.tap[n].weight, kPanel, t.tap[n].x + t.column, t.pitch, t.channels);
  }
  const bool plain = t.rows == kTileRows && t.columns == vecs * kWidth && t.steps == 0;
  if (plain) return t.half ? store<Half, vecs>(t, c) : store<float, vecs>(t, c);
  t.half ? leave<Half, vecs>(t, c) : leave<float, vecs>(t, c);
}

}  // namespace

void conv_wide(const ConvTile& t, const float* weights) {
  constexpr int kMost = kTileColumns / kWidth;
  if (kMost > 1 && t.columns <= kWidth) return tile<1>(t, weights);
  tile<kMost>(t, weights);
}

}  // namespace milane::host::MILANE_ISA

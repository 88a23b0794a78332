// The register tiles of matrix products.
#include "host/kernels/following.h"
#include "host/kernels/part.h"
#include "host/kernels/tile.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kColumns = kTileColumns / kWidth;
constexpr int kVecs = static_cast<int>(kPanel) / kWidth;  // registers of a panel's row
constexpr std::int64_t kRun = ProductTile::kRun;

// The sums of a whole depth: biases, what follows, the store.
template <class T, int rows, int vecs>
MILANE_INLINE void leave(const ProductTile& t, Vec (&c)[rows][vecs]) {
  T* const y = static_cast<T*>(t.y);
  const bool relu = is_relu(t.after, t.steps);
  alignas(64) float space[kFollowing + 1][rows * vecs * kWidth];
  MILANE_UNROLL
  for (int i = 0; i < rows; ++i) {
    if (i >= t.rows) break;
    MILANE_UNROLL
    for (int v = 0; v < vecs; ++v) {
      const std::int64_t first = v * kWidth, left = t.columns - first;
      if (left <= 0) break;
      T* const to = y + i * t.row_stride + first;
      if (t.row_bias != nullptr) c[i][v] += splat(t.row_bias[i]);
      if (t.column_bias != nullptr) c[i][v] += load_up_to(t.column_bias + first, left);
      if (relu) c[i][v] = rectify<T>(c[i][v]);
      if (t.steps == 0 || relu) {
        store_up_to(to, t.add ? c[i][v] + load_up_to(to, left) : c[i][v], left);
      } else {
        store_vec(space[0] + (i * vecs + v) * kWidth, rounded<T>(c[i][v]));
      }
    }
  }
  if (t.steps == 0 || relu) return;
  const int count = static_cast<int>(t.rows) * vecs * kWidth;
  const float* const result = follow(t.after, t.steps, space, count);
  for (std::int64_t i = 0; i < t.rows; ++i) {
    for (std::int64_t first = 0; first < t.columns; first += kWidth) {
      const Vec v = load_vec(result + i * vecs * kWidth + first);
      store_up_to(y + i * t.row_stride + first, v, t.columns - first);
    }
  }
}

// The most frequent case: a whole tile, and nothing but the rounding.
template <class T, int rows, int vecs>
MILANE_INLINE void store(const ProductTile& t, Vec (&c)[rows][vecs]) {
  T* y = static_cast<T*>(t.y);
  MILANE_UNROLL
  for (int i = 0; i < rows; ++i, y += t.row_stride) {
    MILANE_UNROLL
    for (int v = 0; v < vecs; ++v) store_vec(y + v * kWidth, c[i][v]);
  }
}

template <class T, int rows, int panels>
void product(const ProductTile& t, const T* w) {
  constexpr int kAcross = panels * kVecs;
  Vec c[rows][kAcross];
  MILANE_UNROLL
  for (int i = 0; i < rows; ++i) {
    MILANE_UNROLL
    for (int v = 0; v < kAcross; ++v)
      c[i][v] = t.first ? Vec{} : load_vec(t.sums + (i * kAcross + v) * kWidth);
  }
  const float* x = t.x;
  const char* next = static_cast<const char*>(t.next);
  for (std::int64_t left = t.depth; left > 0; left -= kRun, x += kProductRows * kRun) {
    const std::int64_t run = left < kRun ? left : kRun;
    for (std::int64_t k = 0; k < run; ++k, w += t.panel_step, next += t.next_step) {
      Vec a[kAcross];
      MILANE_UNROLL
      for (int p = 0; p < panels; ++p) {
        __builtin_prefetch(next + p * t.next_apart);
        MILANE_UNROLL
        for (int v = 0; v < kVecs; ++v) a[p * kVecs + v] = load_vec(w + p * t.panel + v * kWidth);
      }
      MILANE_UNROLL
      for (int i = 0; i < rows; ++i) {
        const Vec value = splat(x[i * kRun + k]);
        MILANE_UNROLL
        for (int v = 0; v < kAcross; ++v) c[i][v] = multiply_add(value, a[v], c[i][v]);
      }
    }
  }
  if (!t.last) {
    MILANE_UNROLL
    for (int i = 0; i < rows; ++i) {
      MILANE_UNROLL
      for (int v = 0; v < kAcross; ++v) store_vec(t.sums + (i * kAcross + v) * kWidth, c[i][v]);
    }
    return;
  }
  const bool plain = t.rows == rows && t.columns == panels * kPanel && t.row_bias == nullptr &&
                     t.column_bias == nullptr && t.steps == 0 && !t.add;
  if (plain) return t.half ? store<Half>(t, c) : store<float>(t, c);
  t.half ? leave<Half>(t, c) : leave<float>(t, c);
}

// An odd row more computes what nobody reads: half as many copies of the code.
template <class T, int panels, int rows = kProductRows>
void dispatch(const ProductTile& t, const T* w) {
  if constexpr (rows > 2) {
    if (t.rows <= rows - 2) return dispatch<T, panels, rows - 2>(t, w);
  }
  product<T, rows, panels>(t, w);
}

template <class T>
MILANE_INLINE void any_panels(const ProductTile& t, const T* w) {
  if (kProductPanels == 2 && t.panels == 2) return dispatch<T, kProductPanels>(t, w);
  dispatch<T, 1>(t, w);
}

// scores[rows][nr], `vecs` registers of each row.
template <int rows, int vecs>
MILANE_INLINE void score(const float* keys, const float* queries, std::int64_t depth, float* scores,
                         bool round) {
  Vec c[rows][vecs] = {};
  add_products(c, keys, kPanel, queries, kTileColumns, depth);
  if (round) {
    MILANE_UNROLL
    for (int i = 0; i < rows; ++i) {
      MILANE_UNROLL
      for (int j = 0; j < vecs; ++j) c[i][j] = round_half(c[i][j]);
    }
  }
  MILANE_UNROLL
  for (int i = 0; i < rows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < vecs; ++j) store_vec(scores + i * kTileColumns + j * kWidth, c[i][j]);
  }
}

}  // namespace

// keys[depth][16], queries[depth][nr], scores[16][nr]
void score_tile(const float* keys, const float* queries, std::int64_t depth, float* scores,
                std::int64_t first, bool round) {
  constexpr int kPanelRows = static_cast<int>(kPanel);
  if constexpr (kTileColumns == 2 * kPanel && kWidth == kPanel) {
    if (first == kPanel)
      return score<kPanelRows, 1>(keys, queries + kPanel, depth, scores + kPanel, round);
  }
  for (int i = 0; i < kPanelRows; i += kTileRows)
    score<kTileRows, kColumns>(keys + i, queries, depth, scores + i * kTileColumns, round);
}

void product_tile_half(const ProductTile& t, const Half* w) { any_panels(t, w); }
void product_tile_float(const ProductTile& t, const float* w) { any_panels(t, w); }

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
  add_products(c, a, lda, b, kTileColumns, depth);
  MILANE_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kColumns; ++j) store_vec(acc + i * kTileColumns + j * kWidth, c[i][j]);
  }
}

}  // namespace milane::host::MILANE_ISA

// Matrix products of bf16 pairs. Compiled for AVX512-BF16 alone.
#include <cstring>

#include "host/kernels/bf16.h"
#include "host/kernels/transpose.h"
#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr int kPanel = 16;         // rows or columns of a panel: lanes of a register
constexpr int kLine = 2 * kPanel;  // elements of one step along a panel
constexpr int kAhead = 32;         // lines of rows that are fetched ahead of their use
constexpr int kChains = 16;        // of the limit: no more than are unrolled

MILANE_INLINE __m512bh load_pairs(const Bf16* p) { return (__m512bh)_mm512_loadu_si512(p); }
// The same pair in every lane.
MILANE_INLINE __m512bh splat_pair(const Bf16* p) {
  std::int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

// acc[kRows][lda] = a[pairs][16][2] (kRows of the 16) times kCount panels b[pairs][16][2]
template <int kRows, int kCount>
MILANE_INLINE void tile_of(const Bf16* a, const Bf16* b, std::int64_t b_panel, std::int64_t pairs,
                           float* acc, std::int64_t lda) {
  __m512 c[kRows][kCount];
  MILANE_UNROLL
  for (int i = 0; i < kRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) c[i][j] = _mm512_setzero_ps();
  }
  for (std::int64_t k = 0; k < pairs; ++k, a += kLine, b += kLine) {
    // Rows come from the third-level cache or from memory (measured: up to a tenth faster).
    _mm_prefetch(a + kAhead * kLine, _MM_HINT_T0);
    __m512bh line[kCount];
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) line[j] = load_pairs(b + j * b_panel);
    MILANE_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const __m512bh pair = splat_pair(a + 2 * i);
      MILANE_UNROLL
      for (int j = 0; j < kCount; ++j) c[i][j] = _mm512_dpbf16_ps(c[i][j], pair, line[j]);
    }
  }
  MILANE_UNROLL
  for (int i = 0; i < kRows; ++i) {
    MILANE_UNROLL
    for (int j = 0; j < kCount; ++j) _mm512_storeu_ps(acc + i * lda + j * kPanel, c[i][j]);
  }
}

void tile(const Bf16* a, const Bf16* b, std::int64_t b_panel, std::int64_t pairs, std::int64_t rows,
          std::int64_t panels, float* acc, std::int64_t lda) {
  // 8 rows of 3 panels are 24 accumulators of 32 registers.
  constexpr int kHalf = kPanel / 2;
  static_assert(Bf16Kernels::kPanels == 3);
  if (panels == 1 && rows > kHalf) return tile_of<kPanel, 1>(a, b, b_panel, pairs, acc, lda);
  for (std::int64_t i = 0; i < rows; i += kHalf, a += 2 * kHalf, acc += kHalf * lda) {
    if (panels == 1) tile_of<kHalf, 1>(a, b, b_panel, pairs, acc, lda);
    if (panels == 2) tile_of<kHalf, 2>(a, b, b_panel, pairs, acc, lda);
    if (panels == 3) tile_of<kHalf, 3>(a, b, b_panel, pairs, acc, lda);
  }
}

// `count` <= 16 halves, zeros beyond, without touching the bytes behind them.
MILANE_INLINE __m256i load_16(const Half* p, std::int64_t count) {
  return _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << static_cast<unsigned>(count)) - 1u),
                                  p);
}
MILANE_INLINE __m512 widen(__m256i halves) { return _mm512_maskz_cvtph_ps(kAllLanes, halves); }
// The nearest bf16 of both, low's before high's.
MILANE_INLINE __m512i narrow(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// line[16][2] from two neighbouring depths
MILANE_INLINE void store_line(Bf16* line, __m256i even, __m256i odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i apart = narrow(widen(even), widen(odd));
  _mm512_storeu_si512(line, _mm512_permutexvar_epi16(order, apart));
}

// src[depth][outer], `count` neighbours each
void pack_neighbours(Bf16* panel, const Half* src, std::int64_t outer, std::int64_t count,
                     std::int64_t depth) {
  for (std::int64_t k = 0; k < depth; k += 2, src += 2 * outer, panel += kLine) {
    const __m256i odd = k + 1 < depth ? load_16(src + outer, count) : _mm256_setzero_si256();
    store_line(panel, load_16(src, count), odd);
  }
}

// src[count][inner], each row contiguous along the depth: pairs are 32-bit lanes, transposed in
// squares.
void pack_transposed(Bf16* panel, const Half* src, std::int64_t inner, std::int64_t count,
                     std::int64_t depth) {
  for (std::int64_t k = 0; k < depth; k += kLine) {
    const std::int64_t steps = depth - k < kLine ? depth - k : kLine;
    Vec rows[kPanel];
    MILANE_UNROLL
    for (int i = 0; i < kPanel; ++i) {
      const std::int64_t some = i < count ? steps : 0;
      const Half* const row = some > 0 ? src + i * inner + k : src;
      rows[i] = (Vec)narrow(widen(load_16(row, some < kPanel ? some : kPanel)),
                            widen(load_16(row + kPanel, some > kPanel ? some - kPanel : 0)));
    }
    transpose_square(rows);
    MILANE_UNROLL
    for (int s = 0; s < kPanel; ++s) {
      if (2 * s < steps) _mm512_storeu_ps(panel + (k / 2 + s) * kLine, rows[s]);
    }
  }
}

void pack(Bf16* panel, const Half* src, std::int64_t inner, std::int64_t outer, std::int64_t count,
          std::int64_t depth) {
  if (inner == 1) return pack_neighbours(panel, src, outer, count, depth);
  pack_transposed(panel, src, inner, count, depth);
}

std::int64_t dots(std::int64_t steps, float* kept) {
  __m512 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i) + *kept);
  // Whatever is added is too small to matter: no overflow.
  const __m512i tiny = narrow(_mm512_set1_ps(0x1p-40F + *kept), _mm512_set1_ps(0x1p-40F + *kept));
  for (std::int64_t s = 0; s < steps; ++s) {
    MILANE_UNROLL
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm512_dpbf16_ps(acc[i], (__m512bh)tiny, (__m512bh)tiny);
    }
  }
  __m512 total = acc[0];
  for (int i = 1; i < kChains; ++i) total = total + acc[i];
  *kept = ((Vec)total)[0];
  return 4LL * kChains * kWidth;
}

}  // namespace

const Bf16Kernels* bf16_table() {
  static constexpr Bf16Kernels kTable = {
      .tile = tile,
      .pack = pack,
      .dots = dots,
  };
  return &kTable;
}

}  // namespace milane::host::MILANE_ISA

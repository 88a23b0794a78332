// Rows of floats. Sums keep 16 interleaved partial sums on every instruction set and join them in
// one fixed tree, and nothing here is fused, so all sets give the same bits.
#include <cstring>

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {
namespace {

constexpr std::size_t kLanes = 16;
constexpr int kVecs = static_cast<int>(kLanes) / kWidth;

// Sixteen lanes, in as many registers as that takes.
struct Lanes {
  Vec v[kVecs];
};

MILANE_INLINE Lanes splat_lanes(float x) {
  Lanes l;
  MILANE_UNROLL
  for (int j = 0; j < kVecs; ++j) l.v[j] = splat(x);
  return l;
}

MILANE_INLINE void spill(float* s, const Lanes& l) {
  MILANE_UNROLL
  for (int j = 0; j < kVecs; ++j) store_vec(s + j * kWidth, l.v[j]);
}

// n < 16 numbers and zeros, which change no sum that began at +0.
MILANE_INLINE Lanes load_rest(const float* x, std::size_t n) {
#if defined(MILANE_ISA_v4)
  return {{_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), x)}};
#else
  float rest[kLanes] = {};
  for (std::size_t j = 0; j < n; ++j) rest[j] = x[j];
  Lanes l;
  MILANE_UNROLL
  for (int j = 0; j < kVecs; ++j) l.v[j] = load_vec(rest + j * kWidth);
  return l;
#endif
}

// Lane i and lane i + 8, then i and i + 4, i and i + 2, the last two.
MILANE_INLINE float tree_sum(Lanes l) {
  MILANE_UNROLL
  for (int half = kVecs / 2; half > 0; half /= 2) {
    MILANE_UNROLL
    for (int j = 0; j < half; ++j) l.v[j] += l.v[j + half];
  }
  Vec v = l.v[0];
#if defined(MILANE_ISA_v4)
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(MILANE_ISA_v3)
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 4, 5, 6, 7);
#else
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
#endif
  return v[0] + v[1];
}

// y = exp(x - minus) of so many times sixteen numbers, added to the sums in their order.
template <int blocks>
MILANE_INLINE void exp_blocks(float* y, const float* x, float minus, Lanes& acc) {
  Vec e[blocks * kVecs];
  MILANE_UNROLL
  for (int i = 0; i < blocks * kVecs; ++i) e[i] = load_vec(x + i * kWidth) - minus;
  exp_vecs(e);
  MILANE_UNROLL
  for (int i = 0; i < blocks * kVecs; ++i) {
    store_vec(y + i * kWidth, e[i]);
    acc.v[i % kVecs] += e[i];
  }
}

}  // namespace

// x[n]
float sum(const float* x, std::size_t n) {
  Lanes acc = splat_lanes(0.0f);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) acc.v[j] += load_vec(x + i + j * kWidth);
  }
  if (i < n) {
    const Lanes rest = load_rest(x + i, n - i);
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) acc.v[j] += rest.v[j];
  }
  return tree_sum(acc);
}

// x[n]
float sum_of_squares(const float* x, float minus, std::size_t n) {
  Lanes acc = splat_lanes(0.0f);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      const Vec d = load_vec(x + i + j * kWidth) - minus;
      acc.v[j] += d * d;
    }
  }
  float squares[kLanes];
  for (std::size_t j = 0; i + j < n; ++j) {
    const float d = x[i + j] - minus;
    squares[j] = d * d;
  }
  if (i < n) {
    const Lanes rest = load_rest(squares, n - i);
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) acc.v[j] += rest.v[j];
  }
  return tree_sum(acc);
}

// x[n]; -infinity for n = 0, NaN when there is one. Several maxima side by side: one would wait for
// its own comparisons.
float max(const float* x, std::size_t n) {
  constexpr std::size_t kChains = 4;
  Lanes acc[kChains];
  MILANE_UNROLL
  for (std::size_t c = 0; c < kChains; ++c) acc[c] = splat_lanes(-__builtin_inff());
  std::size_t i = 0;
  const auto step = [&](Lanes& best) {
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) best.v[j] = maximum(best.v[j], load_vec(x + i + j * kWidth));
    i += kLanes;
  };
  while (i + kChains * kLanes <= n) {
    MILANE_UNROLL
    for (std::size_t c = 0; c < kChains; ++c) step(acc[c]);
  }
  while (i + kLanes <= n) step(acc[0]);
  MILANE_UNROLL
  for (std::size_t c = 1; c < kChains; ++c) {
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) acc[0].v[j] = maximum(acc[0].v[j], acc[c].v[j]);
  }
  float s[kLanes];
  spill(s, acc[0]);
  const auto larger = [](float a, float b) { return b > a || b != b ? b : a; };
  for (std::size_t j = 0; i + j < n; ++j) s[j] = larger(s[j], x[i + j]);
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) s[j] = larger(s[j], s[j + half]);
  }
  return s[0];
}

// y[n] <- x[n]; y may be x.
float exp_sum(float* y, const float* x, float minus, std::size_t n) {
  constexpr int kTogether = kVecs == 4 ? 1 : 8 / kVecs;
  Lanes acc = splat_lanes(0.0f);
  std::size_t i = 0;
  for (; i + kTogether * kLanes <= n; i += kTogether * kLanes)
    exp_blocks<kTogether>(y + i, x + i, minus, acc);
  for (; i + kLanes <= n; i += kLanes) exp_blocks<1>(y + i, x + i, minus, acc);
  if (i < n) {
    float tail[kLanes] = {};
    std::memcpy(tail, x + i, (n - i) * sizeof(float));
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      store_vec(tail + j * kWidth, exp_vec(load_vec(tail + j * kWidth) - minus));
    }
    const Lanes rest = load_rest(tail, n - i);
    MILANE_UNROLL
    for (int j = 0; j < kVecs; ++j) acc.v[j] += rest.v[j];
    std::memcpy(y + i, tail, (n - i) * sizeof(float));
  }
  return tree_sum(acc);
}

// y[n], x[n]
void scale_shift(float* y, const float* x, float a, float b, std::size_t n) {
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store_vec(y + i, load_vec(x + i) * a + b);
  for (; i < n; ++i) y[i] = a * x[i] + b;
}

// y[n], x[n]
void axpy(float* y, const float* x, float a, std::size_t n) {
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store_vec(y + i, load_vec(y + i) + load_vec(x + i) * a);
  for (; i < n; ++i) y[i] += a * x[i];
}

// x[n]
void round_to_half(float* x, std::size_t n) {
  std::size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store_vec(x + i, round_half(load_vec(x + i)));
  if (i < n) {
    float tail[kWidth] = {};
    std::memcpy(tail, x + i, (n - i) * sizeof(float));
    store_vec(tail, round_half(load_vec(tail)));
    std::memcpy(x + i, tail, (n - i) * sizeof(float));
  }
}

}  // namespace milane::host::MILANE_ISA

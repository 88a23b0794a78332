// Registers of which only the first lanes are in memory.
#pragma once

#include <cstring>

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

// `count` <= kWidth elements and zeros, without touching the bytes behind them.
template <class T>
MILANE_INLINE Vec load_part(const T* p, std::int64_t count) {
  T in[kWidth] = {};
  std::memcpy(in, p, static_cast<std::size_t>(count) * sizeof(T));
  return load_vec(in);
}
template <class T>
MILANE_INLINE void store_part(T* p, Vec v, std::int64_t count) {
  T out[kWidth];
  store_vec(out, v);
  std::memcpy(p, out, static_cast<std::size_t>(count) * sizeof(T));
}

#if defined(MILANE_ISA_v4)
MILANE_INLINE __mmask16 lanes(std::int64_t count) {
  return static_cast<__mmask16>((1u << static_cast<unsigned>(count)) - 1u);
}
MILANE_INLINE Vec load_part(const float* p, std::int64_t count) {
  return _mm512_maskz_loadu_ps(lanes(count), p);
}
MILANE_INLINE Vec load_part(const Half* p, std::int64_t count) {
  return _mm512_maskz_cvtph_ps(kAllLanes, _mm256_maskz_loadu_epi16(lanes(count), p));
}
MILANE_INLINE void store_part(float* p, Vec v, std::int64_t count) {
  _mm512_mask_storeu_ps(p, lanes(count), v);
}
MILANE_INLINE void store_part(Half* p, Vec v, std::int64_t count) {
  const __m256i h = _mm512_maskz_cvtps_ph(kAllLanes, v, _MM_FROUND_TO_NEAREST_INT);
  _mm256_mask_storeu_epi16(p, lanes(count), h);
}
#endif

// A register of which `left` elements or more are in memory.
template <class T>
MILANE_INLINE Vec load_up_to(const T* p, std::int64_t left) {
  return left >= kWidth ? load_vec(p) : load_part(p, left);
}
template <class T>
MILANE_INLINE void store_up_to(T* p, Vec v, std::int64_t left) {
  left >= kWidth ? store_vec(p, v) : store_part(p, v, left);
}

}  // namespace milane::host::MILANE_ISA

// One register of floats, on the compiler's vector extensions (measured: as fast as intrinsics for
// arithmetic), plus the few things those cannot say: fused multiply-add and half conversion.
// Everything here is static: a copy compiled for one instruction set must never serve another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

#define MILANE_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define MILANE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MILANE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace milane::host::MILANE_ISA {

#if defined(MILANE_ISA_v4)
constexpr int kWidth = 16;
constexpr __mmask16 kAllLanes = 0xFFFF;  // the plain forms trip GCC 12's -Wmaybe-uninitialized
#elif defined(MILANE_ISA_v3)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef std::int32_t IntVec __attribute__((vector_size(kWidth * 4)));
typedef float VecUnaligned __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));

MILANE_INLINE Vec load_vec(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
MILANE_INLINE void store_vec(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
// `x - Vec{}` is exact and folds into a broadcast; `Vec{} + x` keeps an addition (measured: half
// the speed), because -0 + 0 is not -0.
MILANE_INLINE Vec splat(float x) { return x - Vec{}; }
// v, in a register: GCC would otherwise load it again for every multiply-add that takes it, which
// is slow where it straddles two cache lines.
MILANE_INLINE Vec loaded(Vec v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}
MILANE_INLINE IntVec splat_int(std::int32_t x) { return x - IntVec{}; }

// Fused where the instruction set has it.
MILANE_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(MILANE_ISA_v4)
  return reinterpret_cast<Vec>(_mm512_fmadd_ps(a, b, c));
#elif defined(MILANE_ISA_v3)
  return reinterpret_cast<Vec>(_mm256_fmadd_ps(a, b, c));
#elif defined(MILANE_ISA_v2)
  return a * b + c;
#else
  return vfmaq_f32(c, a, b);
#endif
}

// kWidth halves to floats, exact.
MILANE_INLINE Vec load_vec(const Half* p) {
#if defined(MILANE_ISA_v4)
  return _mm512_maskz_cvtph_ps(kAllLanes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(MILANE_ISA_v3)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(MILANE_ISA_v2)
  const IntVec bits =
      (IntVec)_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const IntVec magnitude = bits & 0x7FFF;
  IntVec value = (magnitude << 13) + 0x38000000;
  value += (magnitude > 0x7BFF) & 0x38000000;
  value |= (magnitude > 0x7C00) & 0x00400000;
  const Vec tiny = (Vec)_mm_cvtepi32_ps((__m128i)magnitude) * 0x1p-24f;
  value = magnitude < 0x0400 ? (IntVec)tiny : value;
  return (Vec)(value | ((bits & 0x8000) << 16));
#else
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#endif
}

// kWidth floats to halves, nearest even.
MILANE_INLINE void store_vec(Half* p, Vec v) {
#if defined(MILANE_ISA_v4)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_maskz_cvtps_ph(kAllLanes, v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(MILANE_ISA_v3)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(MILANE_ISA_v2)
  const IntVec bits = (IntVec)v;
  const IntVec magnitude = bits & 0x7FFFFFFF;
  const IntVec cut = magnitude >> 13;
  IntVec value = (magnitude + ((cut & 1) + (0xFFF - 0x38000000))) >> 13;
  const IntVec tiny = (IntVec)((Vec)magnitude + 0.5f) - 0x3F000000;
  value = magnitude < 0x38800000 ? tiny : value;
  value = magnitude > 0x477FEFFF ? splat_int(0x7C00) : value;
  value = magnitude > 0x7F800000 ? ((cut & 0x3FF) | 0x7E00) : value;
  value |= (bits >> 16) & 0x8000;
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi32((__m128i)value, (__m128i)value));
#else
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(v)));
#endif
}

// The nearest half of every lane, as a float.
MILANE_INLINE Vec round_half(Vec v) {
#if defined(MILANE_ISA_v4)
  return _mm512_maskz_cvtph_ps(kAllLanes,
                               _mm512_maskz_cvtps_ph(kAllLanes, v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(MILANE_ISA_v3)
  return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(MILANE_ISA_v2)
  Half h[kWidth];
  store_vec(h, v);
  return load_vec(h);
#else
  return vcvt_f32_f16(vcvt_f16_f32(v));
#endif
}

// As T, Half or float, holds it.
template <class T>
MILANE_INLINE Vec rounded(Vec v) {
  return sizeof(T) == 2 ? round_half(v) : v;
}

// Lane-wise; where either is NaN, b (on Arm NaN).
MILANE_INLINE Vec larger(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  return _mm512_maskz_max_ps(kAllLanes, a, b);
#elif defined(MILANE_ISA_v3)
  return _mm256_max_ps(a, b);
#elif defined(MILANE_ISA_v2)
  return _mm_max_ps(a, b);
#else
  return vmaxq_f32(a, b);
#endif
}
MILANE_INLINE Vec smaller(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  return _mm512_maskz_min_ps(kAllLanes, a, b);
#elif defined(MILANE_ISA_v3)
  return _mm256_min_ps(a, b);
#elif defined(MILANE_ISA_v2)
  return _mm_min_ps(a, b);
#else
  return vminq_f32(a, b);
#endif
}

// Lane-wise maximum in which NaN wins on either side; a where they are equal.
MILANE_INLINE Vec maximum(Vec a, Vec b) {
#if defined(MILANE_ISA_v4)
  const __mmask16 is_nan = _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q);
  return _mm512_mask_mov_ps(larger(b, a), is_nan, b);
#else
  return ((b > a) | (b != b)) ? b : a;
#endif
}

// x, or the bound that it passes; NaN stays, being the second operand.
MILANE_INLINE Vec at_least(Vec x, float low) { return larger(splat(low), x); }
MILANE_INLINE Vec at_most(Vec x, float high) { return smaller(splat(high), x); }

// e 2^n for n from -152 to 129 and e near 1, rounded once; `shifted` is n + 1.5 * 2^23.
MILANE_INLINE Vec times_power(Vec e, Vec n, [[maybe_unused]] Vec shifted) {
#if defined(MILANE_ISA_v4)
  return _mm512_maskz_scalef_ps(kAllLanes, e, n);
#else
  // Two factors with normal exponents: both with their bias of 127, from n + 254.
  const IntVec exponents = (IntVec)shifted - (0x4B400000 - 254);
  const IntVec half = exponents >> 1;
  (void)n;
  return e * (Vec)(half << 23) * (Vec)((exponents - half) << 23);
#endif
}

// e^x within 1 ulp down to subnormals; 0 below, infinity above, NaN kept. No fused operation, so
// every instruction set gives the same bits.
// x = n ln 2 + r with |r| <= ln(2)/2; the Taylor series to r^7 leaves 5e-9, a tenth of an ulp.
// Several registers take their steps together: one alone mostly waits for its own results.
template <int count>
MILANE_INLINE void exp_vecs(Vec (&x)[count]) {
  const float magic = 0x1.8p23f;  // adding it rounds to an integer in the low mantissa bits
  Vec shifted[count], n[count], p[count];
  const auto each = [](const auto& step) {
    MILANE_UNROLL
    for (int i = 0; i < count; ++i) step(i);
  };
  each([&](int i) { x[i] = at_least(at_most(x[i], 89.0f), -105.0f); });
  each([&](int i) { shifted[i] = x[i] * 0x1.715476p0f + magic; });
  each([&](int i) { n[i] = shifted[i] - magic; });
  // ln 2 in two parts: n * high is exact for |n| < 2^15. From here on x is the remainder r.
  each([&](int i) { x[i] = x[i] - n[i] * 0x1.62ep-1f; });
  each([&](int i) { x[i] = x[i] - n[i] * 0x1.0bfbe8p-15f; });
  each([&](int i) { p[i] = x[i] * (1.0f / 5040.0f) + 1.0f / 720.0f; });
  each([&](int i) { p[i] = p[i] * x[i] + 1.0f / 120.0f; });
  each([&](int i) { p[i] = p[i] * x[i] + 1.0f / 24.0f; });
  each([&](int i) { p[i] = p[i] * x[i] + 1.0f / 6.0f; });
  each([&](int i) { p[i] = p[i] * x[i] + 0.5f; });
  each([&](int i) { p[i] = p[i] * (x[i] * x[i]) + x[i]; });
  each([&](int i) { p[i] = p[i] + 1.0f; });
  each([&](int i) { x[i] = times_power(p[i], n[i], shifted[i]); });
}
MILANE_INLINE Vec exp_vec(Vec x) {
  Vec one[1] = {x};
  exp_vecs(one);
  return one[0];
}

}  // namespace milane::host::MILANE_ISA

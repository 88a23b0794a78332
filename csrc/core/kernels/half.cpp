// Arrays of halves, once per instruction set. Bit-identical to the scalar forms of core/half.h for
// every input: hardware conversions keep NaN payloads and make them quiet, as those do.
#include "core/half.h"

#include <cstring>

#include "core/prefetch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

namespace milane::MILANE_ISA {

#define MILANE_INLINE static inline __attribute__((always_inline))

#if defined(MILANE_ISA_v4)

constexpr std::size_t kStep = 16;
constexpr __mmask16 kAllLanes = 0xFFFF;  // the plain forms trip GCC 12's -Wmaybe-uninitialized
using Floats = __m512;
MILANE_INLINE Floats widen(const Half* p) {
  return _mm512_maskz_cvtph_ps(kAllLanes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MILANE_INLINE void narrow(Half* p, const float* x) {
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(p),
      _mm512_maskz_cvtps_ph(kAllLanes, _mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}
MILANE_INLINE void put(float* p, Floats v) { _mm512_storeu_ps(p, v); }
MILANE_INLINE void stream(float* p, Floats v) { _mm512_stream_ps(p, v); }
MILANE_INLINE void stream_narrow(Half* p, const float* x) {
  _mm256_stream_si256(
      reinterpret_cast<__m256i*>(p),
      _mm512_maskz_cvtps_ph(kAllLanes, _mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}

#elif defined(MILANE_ISA_v3)

constexpr std::size_t kStep = 8;
using Floats = __m256;
MILANE_INLINE Floats widen(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
MILANE_INLINE void narrow(Half* p, const float* x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}
MILANE_INLINE void put(float* p, Floats v) { _mm256_storeu_ps(p, v); }
MILANE_INLINE void stream(float* p, Floats v) { _mm256_stream_ps(p, v); }
MILANE_INLINE void stream_narrow(Half* p, const float* x) {
  _mm_stream_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}

#elif defined(MILANE_ISA_v2)

// No conversion instruction: the scalar rules of core/half.h on four lanes, cases merged by blends.
constexpr std::size_t kStep = 8;
struct Floats {
  __m128 low, high;
};
MILANE_INLINE __m128 widen4(__m128i bits) {
  const __m128i sign = _mm_slli_epi32(_mm_and_si128(bits, _mm_set1_epi32(0x8000)), 16);
  const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7FFF));
  const __m128i rebias = _mm_set1_epi32(0x38000000);
  __m128i value = _mm_add_epi32(_mm_slli_epi32(magnitude, 13), rebias);
  const __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7BFF));
  const __m128i nan = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7C00));
  value = _mm_add_epi32(value, _mm_and_si128(special, rebias));
  value = _mm_or_si128(value, _mm_and_si128(nan, _mm_set1_epi32(0x00400000)));
  const __m128 tiny = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f));
  const __m128i small = _mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x0400));
  value = _mm_blendv_epi8(value, _mm_castps_si128(tiny), small);
  return _mm_castsi128_ps(_mm_or_si128(value, sign));
}
MILANE_INLINE Floats widen(const Half* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {widen4(_mm_cvtepu16_epi32(bits)), widen4(_mm_unpackhi_epi16(bits, _mm_setzero_si128()))};
}
MILANE_INLINE __m128i narrow4(__m128 x) {
  const __m128i bits = _mm_castps_si128(x);
  const __m128i sign = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(0x8000));
  const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7FFFFFFF));
  const __m128i cut = _mm_srli_epi32(magnitude, 13);
  const __m128i odd = _mm_and_si128(cut, _mm_set1_epi32(1));
  const __m128i rounding = _mm_add_epi32(_mm_set1_epi32(0xFFF - 0x38000000), odd);
  __m128i value = _mm_srli_epi32(_mm_add_epi32(magnitude, rounding), 13);
  const __m128 shifted = _mm_add_ps(_mm_castsi128_ps(magnitude), _mm_set1_ps(0.5f));
  const __m128i tiny = _mm_sub_epi32(_mm_castps_si128(shifted), _mm_set1_epi32(0x3F000000));
  value = _mm_blendv_epi8(value, tiny, _mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x38800000)));
  const __m128i large = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x477FEFFF));
  value = _mm_blendv_epi8(value, _mm_set1_epi32(0x7C00), large);
  const __m128i quiet =
      _mm_or_si128(_mm_and_si128(cut, _mm_set1_epi32(0x3FF)), _mm_set1_epi32(0x7E00));
  value = _mm_blendv_epi8(value, quiet, _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7F800000)));
  return _mm_or_si128(value, sign);
}
MILANE_INLINE __m128i narrow8(const float* x) {
  return _mm_packus_epi32(narrow4(_mm_loadu_ps(x)), narrow4(_mm_loadu_ps(x + 4)));
}
MILANE_INLINE void narrow(Half* p, const float* x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow8(x));
}
MILANE_INLINE void put(float* p, Floats v) {
  _mm_storeu_ps(p, v.low);
  _mm_storeu_ps(p + 4, v.high);
}
MILANE_INLINE void stream(float* p, Floats v) {
  _mm_stream_ps(p, v.low);
  _mm_stream_ps(p + 4, v.high);
}
MILANE_INLINE void stream_narrow(Half* p, const float* x) {
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), narrow8(x));
}

#else  // NEON

constexpr std::size_t kStep = 8;
struct Floats {
  float32x4_t low, high;
};
MILANE_INLINE Floats widen(const Half* p) {
  const float16x8_t h = vreinterpretq_f16_u16(vld1q_u16(&p->bits));
  return {vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}
MILANE_INLINE void narrow(Half* p, const float* x) {
  const float16x4_t low = vcvt_f16_f32(vld1q_f32(x));
  vst1q_u16(&p->bits, vreinterpretq_u16_f16(vcvt_high_f16_f32(low, vld1q_f32(x + 4))));
}
MILANE_INLINE void put(float* p, Floats v) {
  vst1q_f32(p, v.low);
  vst1q_f32(p + 4, v.high);
}
MILANE_INLINE void stream(float* p, Floats v) { put(p, v); }
MILANE_INLINE void stream_narrow(Half* p, const float* x) { narrow(p, x); }

#endif

// Measured: beyond the last-level cache, stores that bypass it are ~1.4 times faster; below,
// slower.
constexpr std::size_t kStreamFloats = std::size_t{12} << 20;
// So many are read from memory, not from a cache.
constexpr std::size_t kFarFloats = std::size_t{1} << 19;

// Elements in front of the first cache line that begins at one; all of them where none does.
template <class T>
MILANE_INLINE std::size_t before_line(const T* p, std::size_t n) {
  const std::size_t bytes = (0 - reinterpret_cast<std::uintptr_t>(p)) % 64;
  return bytes % sizeof(T) == 0 && bytes / sizeof(T) < n ? bytes / sizeof(T) : n;
}

// step(i) for blocks of 4 * kStep elements from i on; the first element behind them.
template <bool far, class T, class F>
MILANE_INLINE std::size_t over_blocks(const T* src, std::size_t i, std::size_t n, const F& step) {
  constexpr std::size_t kBlock = 4 * kStep;
  for (; i + kBlock <= n; i += kBlock) {
    if (far) {
      const char* const ahead = reinterpret_cast<const char*>(src + i) + kAhead;
      for (std::size_t at = 0; at < kBlock * sizeof(T); at += 64) __builtin_prefetch(ahead + at);
    }
    for (std::size_t j = 0; j < kBlock; j += kStep) step(i + j);
  }
  return i;
}

// The same for whole cache lines of T.
template <class T, class F>
MILANE_INLINE std::size_t over_lines(std::size_t i, std::size_t n, const F& step) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (; i + kLine <= n; i += kLine) {
    for (std::size_t j = 0; j < kLine; j += kStep) step(i + j);
  }
  return i;
}

// Where p[i] is written, byte by byte: results may begin at any.
template <class T>
MILANE_INLINE std::byte* bytes_at(T* p, std::size_t i) {
  return reinterpret_cast<std::byte*>(p) + i * sizeof(T);
}

// dst[n] <- src[n], few of them
MILANE_INLINE void widen_few(float* dst, const Half* src, std::size_t n) {
  std::size_t i = 0;
  for (; i + kStep <= n; i += kStep) put(dst + i, widen(src + i));
  if (i == n) return;
  Half in[kStep] = {};
  float out[kStep];
  std::memcpy(in, src + i, (n - i) * sizeof(Half));
  put(out, widen(in));
  std::memcpy(bytes_at(dst, i), out, (n - i) * sizeof(float));
}
MILANE_INLINE void narrow_few(Half* dst, const float* src, std::size_t n) {
  std::size_t i = 0;
  for (; i + kStep <= n; i += kStep) narrow(dst + i, src + i);
  if (i == n) return;
  float in[kStep] = {};
  Half out[kStep];
  std::memcpy(in, src + i, (n - i) * sizeof(float));
  narrow(out, in);
  std::memcpy(bytes_at(dst, i), out, (n - i) * sizeof(Half));
}

// dst[n] <- src[n], of so many elements in all; parts are fenced together, by their caller
void widen_array(float* dst, const Half* src, std::size_t n, std::size_t all) {
  std::size_t i = 0;
  if (all >= kStreamFloats) {
    i = before_line(dst, n);
    widen_few(dst, src, i);
    const auto step = [&](std::size_t at) { stream(dst + at, widen(src + at)); };
    i = over_lines<float>(over_blocks<true>(src, i, n, step), n, step);
    if (n == all) finish_conversion();
  } else if (all >= kFarFloats) {
    i = over_blocks<true>(src, i, n, [&](std::size_t at) { put(dst + at, widen(src + at)); });
  } else {
    i = over_blocks<false>(src, i, n, [&](std::size_t at) { put(dst + at, widen(src + at)); });
  }
  widen_few(dst + i, src + i, n - i);
}

// dst[n] <- src[n], of so many elements in all; parts are fenced together, by their caller
void narrow_array(Half* dst, const float* src, std::size_t n, std::size_t all) {
  std::size_t i = 0;
  if (all >= kStreamFloats) {
    i = before_line(dst, n);
    narrow_few(dst, src, i);
    const auto step = [&](std::size_t at) { stream_narrow(dst + at, src + at); };
    i = over_lines<Half>(over_blocks<true>(src, i, n, step), n, step);
    if (n == all) finish_conversion();
  } else if (all >= kFarFloats) {
    i = over_blocks<true>(src, i, n, [&](std::size_t at) { narrow(dst + at, src + at); });
  } else {
    i = over_blocks<false>(src, i, n, [&](std::size_t at) { narrow(dst + at, src + at); });
  }
  narrow_few(dst + i, src + i, n - i);
}

}  // namespace milane::MILANE_ISA

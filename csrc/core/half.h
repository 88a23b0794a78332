// IEEE 754 binary16. Scalar forms here; the array forms pick the widest instructions at run time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace milane {

// Bits of a half; arithmetic is always done in float (load, compute, round once at the store).
struct Half {
  std::uint16_t bits;
};

// Exact.
constexpr float half_to_float(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = h.bits & 0x7FFFu;
  if (magnitude >= 0x7C00u) {  // infinity, or NaN with its payload kept and made quiet
    const std::uint32_t quiet = magnitude > 0x7C00u ? 0x00400000u : 0u;
    return std::bit_cast<float>(sign | 0x7F800000u | ((magnitude & 0x3FFu) << 13) | quiet);
  }
  if (magnitude < 0x0400u) {  // zero or subnormal: value * 2^-24 is exact in float
    const float f = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(f));
  }
  return std::bit_cast<float>(sign | ((magnitude + 0x1C000u) << 13));
}

// Round to nearest, ties to even; subnormals, infinities and NaN (made quiet) kept.
constexpr Half float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {
    return {static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu))};
  }
  if (magnitude >= 0x477FF000u) return {static_cast<std::uint16_t>(sign | 0x7C00u)};
  if (magnitude < 0x38800000u) {
    // Adding 0.5 aligns the result's unit (2^-24) with the float's last bit, rounding as it goes.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {
        static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u))};
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return {static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13))};
}

// Rounds a float to the nearest half, as a float.
constexpr float round_to_half(float value) { return half_to_float(float_to_half(value)); }

// dst[i] = src[i] for n elements; dst and src do not overlap. Bit-identical on every CPU. They may
// be a part of `all` that are converted: how memory is best read and written depends on that. After
// its parts a thread calls finish_conversion(); until then others may see what was there before.
void convert_half_to_float(float* dst, const Half* src, std::size_t n, std::size_t all = 0);
void convert_float_to_half(Half* dst, const float* src, std::size_t n, std::size_t all = 0);
void finish_conversion();

}  // namespace milane

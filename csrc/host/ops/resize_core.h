// Where samples of a resized axis come from.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "host/op.h"

namespace milane::host {

// Names and formulas: sampling_mode of resize_bilinear (iOS15).
enum class Sampling : std::uint8_t {
  kStrictAlignCorners,
  kAlignCorners,
  kDefault,
  kOffsetCorners,
  kUnalignCorners
};

Sampling sampling_of(const OpSite& site);  // the argument sampling_mode

// Point i of n on an axis of `size` samples, before clamping to [0, size - 1]. `size` may be
// fractional: the extent of a box is its length plus one.
double grid_point(Sampling mode, double size, std::int64_t n, std::int64_t i);

// x[low] + (x[high] - x[low]) * weight, as x[low] * (1 - weight) + x[high] * weight.
struct Tap {
  std::int64_t low, high;
  float weight;
};

// One table per axis, made when the operation is planned.
std::vector<Tap> linear_taps(Sampling mode, std::int64_t in, std::int64_t out);
std::vector<std::int64_t> nearest_taps(Sampling mode, std::int64_t in, std::int64_t out);

// Tap of a point already inside [0, size - 1].
inline Tap tap_at(double point, std::int64_t size) {
  const auto low = static_cast<std::int64_t>(point);
  return {low, low + 1 < size ? low + 1 : low,
          static_cast<float>(point - static_cast<double>(low))};
}

inline float lerp(float low, float high, float weight) {
  return low * (1.0f - weight) + high * weight;
}

// The last `axes` dimensions of x become those of out; results are rounded once.
RunFn resize_linear(const Operand& x, const Operand& out, std::size_t axes, Sampling mode);
RunFn resize_nearest(const Operand& x, const Operand& out, std::size_t axes, Sampling mode);

}  // namespace milane::host

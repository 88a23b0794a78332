// Division and parts of sizes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace milane {

// n / unit, and the multiple of unit from n on; for n >= 0.
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return ceil_div(n, unit) * unit;
}

// a / b rounded down; b > 0.
constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// The size of equal parts of `count`, each at most `most` and a multiple of `unit`; `unit` at
// least.
constexpr std::int64_t equal_part(std::int64_t count, std::int64_t most, std::int64_t unit) {
  const std::int64_t parts = std::max<std::int64_t>(ceil_div(count, std::max(most, unit)), 1);
  return round_up(ceil_div(count, parts), unit);
}

}  // namespace milane

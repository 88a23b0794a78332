// Division of sizes.
#pragma once

#include <cstdint>

namespace milane {

// n / unit, and the multiple of unit from n on; for n >= 0.
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return ceil_div(n, unit) * unit;
}

}  // namespace milane

// Shapes: a list of dimensions, innermost last. kUnknownDim stands for MIL's `?`.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "core/dims.h"

namespace milane {

inline constexpr std::int64_t kUnknownDim = -1;
// The device takes at most five axes (ane_facts.md D 10).
inline constexpr std::size_t kMaxRank = 5;

inline bool is_static(const Dims& dims) {
  for (auto d : dims) {
    if (d < 0) return false;
  }
  return true;
}

// Product of the dimensions; 1 for rank 0. Saturates at int64 max instead of overflowing.
inline std::int64_t element_count(const Dims& dims) {
  std::int64_t n = 1;
  for (auto d : dims) {
    if (d != 0 && n > std::numeric_limits<std::int64_t>::max() / d) {
      return std::numeric_limits<std::int64_t>::max();
    }
    n *= d;
  }
  return n;
}

// "[1, ?, 64]", as MIL writes it.
inline std::string to_string(const Dims& dims) {
  std::string s = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i) s += ", ";
    s += dims[i] == kUnknownDim ? "?" : std::to_string(dims[i]);
  }
  return s + "]";
}

// Row-major strides in elements.
inline Dims contiguous_strides(const Dims& dims) {
  Dims s(dims.size());
  std::int64_t n = 1;
  for (std::size_t i = dims.size(); i-- > 0;) {
    s[i] = n;
    n *= dims[i];
  }
  return s;
}

}  // namespace milane

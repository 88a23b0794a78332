// Shapes from and to Python's lists.
#pragma once

#include <pybind11/stl.h>

#include "core/dims.h"

namespace pybind11::detail {

template <>
struct type_caster<milane::Dims> : list_caster<milane::Dims, std::int64_t> {};

}  // namespace pybind11::detail

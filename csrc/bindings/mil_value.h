// Types and values of MIL as Python objects, and their way to NumPy and back.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "mil/program.h"

namespace milane::bindings {

// A Type, or the text of one.
mil::Type type_from(pybind11::handle type);
// `dtype` is a MIL name such as "fp16"; without one the array's own type decides.
mil::Value value_from_numpy(const pybind11::object& array, const std::optional<std::string>& dtype);
// The first hundred characters, for reprs.
std::string shortened(const std::string& text);

// Type and Value.
void bind_values(pybind11::module_& m);

}  // namespace milane::bindings

// Copies between strided arrays.
#pragma once

#include <pybind11/numpy.h>

namespace milane::bindings {

// target[...] = source, both of one shape. float32 to half (rounded to nearest even), half to
// float32 where elements touch, and equal types go without the GIL and without a temporary array;
// NumPy does what is left. Arrays that overlap are copied as if there were two.
void assign(const pybind11::array& target, const pybind11::array& source);

}  // namespace milane::bindings

// Weight files from matrices of floats.
#pragma once

#include <cstddef>
#include <vector>

namespace milane::bridge {

// A file with one fp16 record: src, rows x cols, row-major, or its transpose. Values are rounded to
// the nearest half. Throws kInvalidArgument for NULL and sizes below 1.
std::vector<std::byte> weight_blob(const float* src, int rows, int cols, bool transposed);

}  // namespace milane::bridge

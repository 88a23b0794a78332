// How the device lays a tensor out, and what it calls its type (ane_facts C.2, C.3, C.7).
#pragma once

#include <cstdint>
#include <string>

#include "core/layout.h"

namespace milane::emulated {

// "Float16"; nullptr for a type that no input or output may have.
const char* type_code(DType dtype);

// A tensor's five axes with their byte strides, and the same as the layout of its own rank.
struct DeviceTensor {
  std::string name;
  TensorLayout layout;
  std::uint32_t symbol = 0;
  std::int64_t batches = 1, channels = 1, depth = 1, height = 1, width = 1;
  std::int64_t batch_stride = 0, depth_stride = 0, plane_stride = 0, row_stride = 0;
};

// Rows are multiples of 64 bytes, plus what the faults layout.row_pad and layout.plane_pad ask for.
DeviceTensor device_tensor(std::string name, DType dtype, const Dims& shape);

}  // namespace milane::emulated

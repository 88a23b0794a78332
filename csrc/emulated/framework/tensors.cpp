#include "emulated/framework/tensors.h"

#include <array>
#include <cstddef>
#include <utility>

#include "emulated/control/control.h"

namespace milane::emulated {
namespace {

std::int64_t padding(MilaneFault fault) {
  constexpr long kUnit = static_cast<long>(kRowAlignment);
  return (milane_fault_number(fault, 0, kUnit) + kUnit - 1) / kUnit * kUnit;
}

}  // namespace

const char* type_code(DType dtype) {
  static constexpr std::array<std::pair<DType, const char*>, 11> kCodes{
      {{DType::kInt4, "Int4"},
       {DType::kUInt8, "UInt8"},
       {DType::kInt8, "Int8"},
       {DType::kFp16, "Float16"},
       {DType::kFp32, "Float32"},
       {DType::kInt16, "Int16"},
       {DType::kUInt16, "UInt16"},
       {DType::kInt32, "Int32"},
       {DType::kUInt32, "UInt32"},
       {DType::kInt64, "Int64"},
       {DType::kUInt64, "UInt64"}}};
  for (const auto& [known, code] : kCodes) {
    if (known == dtype) return code;
  }
  return nullptr;
}

DeviceTensor device_tensor(std::string name, DType dtype, const Dims& shape) {
  DeviceTensor t;
  t.name = std::move(name);
  const std::size_t rank = shape.size();
  // Right-aligned: width, height, channels; the fourth axis from the right is the batch. A fifth
  // puts depth between channels and height.
  const bool deep = rank == 5;
  const auto axis = [&](std::size_t from_end) {
    return rank < from_end ? std::int64_t{1} : shape[rank - from_end];
  };
  t.width = axis(1);
  t.height = axis(2);
  t.depth = deep ? axis(3) : 1;
  t.channels = axis(deep ? 4 : 3);
  t.batches = axis(deep ? 5 : 4);

  const auto elem = static_cast<std::int64_t>(dtype_size(dtype));
  t.row_stride =
      static_cast<std::int64_t>(row_stride_for(t.width, dtype_size(dtype))) + padding(kRowPad);
  const std::int64_t slice = t.height * t.row_stride;
  t.plane_stride = t.depth * slice + padding(kPlanePad);
  t.batch_stride = t.channels * t.plane_stride;
  t.depth_stride = deep ? slice : t.batch_stride;

  const Dims all{t.batch_stride, t.plane_stride, t.depth_stride, t.row_stride, elem};
  Dims strides = deep ? all : Dims{t.batch_stride, t.plane_stride, t.row_stride, elem};
  strides.erase(strides.begin(), strides.end() - static_cast<std::ptrdiff_t>(rank));
  t.layout = TensorLayout(dtype, shape, std::move(strides),
                          static_cast<std::size_t>(t.batches * t.batch_stride));
  return t;
}

}  // namespace milane::emulated

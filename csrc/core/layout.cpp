#include "core/layout.h"

#include <cstring>
#include <limits>

#include "core/error.h"

namespace milane {

std::size_t row_stride_for(std::int64_t width, std::size_t elem_size) {
  if (width <= 0 || elem_size == 0) {
    throw Error(ErrorCode::kLayout,
                "row_stride_for: expected a positive width and element size, got " +
                    std::to_string(width) + " and " + std::to_string(elem_size));
  }
  if (static_cast<std::size_t>(width) > (std::size_t{1} << 62) / elem_size) {
    throw Error(ErrorCode::kLayout, "row_stride_for: expected a row that fits in memory, got " +
                                        std::to_string(width) + " elements of " +
                                        std::to_string(elem_size) + " bytes");
  }
  const std::size_t bytes = static_cast<std::size_t>(width) * elem_size;
  return (bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

TensorLayout::TensorLayout(DType dtype, Dims shape) : dtype_(dtype), shape_(std::move(shape)) {
  if (dtype == DType::kString || is_sub_byte(dtype)) {
    throw Error(ErrorCode::kLayout, "layout: expected a whole-byte numeric type, got " +
                                        std::string(dtype_name(dtype)));
  }
  if (shape_.size() > kMaxRank) {
    throw Error(ErrorCode::kLayout,
                "layout: expected at most 5 axes, got " + std::to_string(shape_.size()) + " in " +
                    to_string(shape_),
                "the device takes tensors of rank 5 or less; merge axes with reshape");
  }
  for (auto d : shape_) {
    if (d <= 0) {
      throw Error(ErrorCode::kLayout,
                  "layout: expected positive dimensions, got " + to_string(shape_),
                  d == kUnknownDim ? "give a concrete shape for a flexible input" : "");
    }
  }
  // Half of the address space is the bound, so that later offset arithmetic cannot overflow.
  constexpr auto kLimit = static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max() / 2);
  const auto elements = static_cast<std::size_t>(element_count(shape_));
  if (elements > kLimit / kRowAlignment / elem_size()) {
    throw Error(ErrorCode::kLayout,
                "layout: expected a size that fits in memory, got " + to_string(shape_));
  }
  row_stride_ = row_stride_for(width(), elem_size());
  alloc_size_ = row_stride_ * static_cast<std::size_t>(rows());
}

Dims TensorLayout::strides() const {
  Dims s(shape_.size());
  auto stride = static_cast<std::int64_t>(elem_size());
  for (std::size_t i = shape_.size(); i-- > 0;) {
    s[i] = stride;
    stride = i + 1 == shape_.size() ? static_cast<std::int64_t>(row_stride_) : stride * shape_[i];
  }
  return s;
}

void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense) {
  if (layout.is_packed()) {
    std::memcpy(surface, dense, layout.logical_bytes());
    return;
  }
  const std::size_t bytes = layout.row_bytes();
  for (std::int64_t r = 0; r < layout.rows(); ++r, surface += layout.row_stride(), dense += bytes) {
    std::memcpy(surface, dense, bytes);
  }
}

void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense) {
  if (layout.is_packed()) {
    std::memcpy(dense, surface, layout.logical_bytes());
    return;
  }
  const std::size_t bytes = layout.row_bytes();
  for (std::int64_t r = 0; r < layout.rows(); ++r, surface += layout.row_stride(), dense += bytes) {
    std::memcpy(dense, surface, bytes);
  }
}

}  // namespace milane

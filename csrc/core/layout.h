// How a tensor lies in a surface: the device's layout (ane_facts.md C.3).
#pragma once

#include <cstddef>
#include <string>

#include "core/dtype.h"
#include "core/shape.h"

namespace milane {

// The device pads every row (the last axis) to this many bytes.
inline constexpr std::size_t kRowAlignment = 64;

// Bytes from one row of `width` elements to the next: the smallest multiple of 64 that holds it,
// at least 64. Source: ane_facts.md C.3.
std::size_t row_stride_for(std::int64_t width, std::size_t elem_size);

// Shape [..., C, H, W]: element (..., c, h, w) is at ... + c*plane_stride + h*row_stride + w*elem.
// Ranks below 4 are read as if leading ones were there; only rows are padded, planes are dense.
class TensorLayout {
 public:
  TensorLayout() = default;
  // The device's padded layout. Throws kLayout for a rank above 5, an unknown or non-positive
  // dimension, a dtype that a surface cannot hold, or a size that overflows.
  TensorLayout(DType dtype, Dims shape);

  DType dtype() const { return dtype_; }
  const Dims& shape() const { return shape_; }
  std::size_t elem_size() const { return dtype_size(dtype_); }

  std::int64_t width() const { return axis_from_end(1); }
  std::int64_t height() const { return axis_from_end(2); }
  std::int64_t channels() const { return axis_from_end(3); }
  // All rows of the tensor: the product of every axis but the last.
  std::int64_t rows() const { return shape_.empty() ? 1 : logical_elements() / width(); }

  std::size_t row_stride() const { return row_stride_; }
  std::size_t plane_stride() const { return row_stride_ * static_cast<std::size_t>(height()); }
  std::size_t alloc_size() const { return alloc_size_; }
  std::int64_t logical_elements() const { return element_count(shape_); }
  std::size_t logical_bytes() const {
    return static_cast<std::size_t>(logical_elements()) * elem_size();
  }
  std::size_t row_bytes() const { return static_cast<std::size_t>(width()) * elem_size(); }
  // True when rows follow each other without padding (or there is only one).
  bool is_packed() const { return row_bytes() == row_stride_ || rows() == 1; }
  // Byte stride of each axis of shape().
  Dims strides() const;

  bool operator==(const TensorLayout&) const = default;

 private:
  std::int64_t axis_from_end(std::size_t i) const {
    return shape_.size() < i ? 1 : shape_[shape_.size() - i];
  }

  DType dtype_ = DType::kFp16;
  Dims shape_;
  std::size_t row_stride_ = 0;
  std::size_t alloc_size_ = 0;
};

// Copies between a surface's rows and a dense buffer; both directions handle row padding.
void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense);
void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense);

}  // namespace milane

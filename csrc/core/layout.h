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
// Ranks below 4 are read as if leading ones were there. Made from a shape alone, only rows are
// padded and planes are dense; a compiled program's own strides may pad planes as well.
class TensorLayout {
 public:
  TensorLayout() = default;
  // The device's padded layout. Throws kLayout for a rank above 5, an unknown or non-positive
  // dimension, a dtype that a surface cannot hold, or a size that overflows.
  TensorLayout(DType dtype, Dims shape);
  // The layout a compiled program reports: bytes per step along each axis, and of the whole.
  // Throws kLayout, too, for axes that overlap or are out of order, elements that do not touch,
  // rows that are no multiple of 64 bytes apart, and a size that the last element exceeds.
  TensorLayout(DType dtype, Dims shape, Dims strides, std::size_t alloc_size);

  DType dtype() const { return dtype_; }
  const Dims& shape() const { return shape_; }
  std::size_t elem_size() const { return dtype_size(dtype_); }

  std::int64_t width() const { return axis_from_end(1); }
  std::int64_t height() const { return axis_from_end(2); }
  std::int64_t channels() const { return axis_from_end(3); }
  // All rows of the tensor: the product of every axis but the last.
  std::int64_t rows() const { return shape_.empty() ? 1 : logical_elements() / width(); }

  std::size_t row_stride() const {
    return shape_.size() < 2 ? row_stride_for(width(), elem_size()) : stride_from_end(2);
  }
  std::size_t plane_stride() const {
    return shape_.size() < 3 ? row_stride() * static_cast<std::size_t>(height())
                             : stride_from_end(3);
  }
  std::size_t alloc_size() const { return alloc_size_; }
  std::int64_t logical_elements() const { return element_count(shape_); }
  std::size_t logical_bytes() const {
    return static_cast<std::size_t>(logical_elements()) * elem_size();
  }
  std::size_t row_bytes() const { return static_cast<std::size_t>(width()) * elem_size(); }
  // True when all elements follow each other without padding.
  bool is_packed() const { return packed_; }
  // Byte stride of each axis of shape().
  const Dims& strides() const { return strides_; }

  // Where row i of rows() begins, in bytes.
  std::size_t row_offset(std::int64_t i) const;

  bool operator==(const TensorLayout&) const = default;

 private:
  std::int64_t axis_from_end(std::size_t i) const {
    return shape_.size() < i ? 1 : shape_[shape_.size() - i];
  }
  std::size_t stride_from_end(std::size_t i) const {
    return static_cast<std::size_t>(strides_[strides_.size() - i]);
  }
  void check_shape() const;
  void check_strides() const;

  DType dtype_ = DType::kFp16;
  Dims shape_, strides_;
  std::size_t alloc_size_ = 0;
  bool packed_ = true;
};

// Calls f(offset, first, count) for every stretch of elements without padding: its byte offset in
// the surface, and the elements' place and number in dense row-major order.
template <class F>
void for_each_run(const TensorLayout& layout, F&& f) {
  if (layout.is_packed()) {
    f(std::size_t{0}, std::int64_t{0}, layout.logical_elements());
    return;
  }
  // Out of the loops: what is called may write memory, so the compiler would look each up again.
  const std::int64_t width = layout.width(), height = layout.height();
  const std::int64_t channels = layout.channels(), count = layout.rows();
  const std::size_t row_stride = layout.row_stride(), plane_stride = layout.plane_stride();
  std::int64_t first = 0;
  for (std::int64_t rows = 0; rows < count; rows += channels * height) {
    std::size_t plane = layout.row_offset(rows);
    for (std::int64_t c = 0; c < channels; ++c, plane += plane_stride) {
      std::size_t offset = plane;
      for (std::int64_t row = 0; row < height; ++row, offset += row_stride, first += width) {
        f(offset, first, width);
      }
    }
  }
}

// Copies between a surface's rows and a dense buffer; both directions handle padding.
void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense);
void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense);

}  // namespace milane

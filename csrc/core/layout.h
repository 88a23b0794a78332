// How a tensor lies in a surface: the device's layout (ane_facts.md C.3).
#pragma once

#include <algorithm>
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

// Calls f(offset, first, count) for each of the rows [begin, end): its byte offset in the surface,
// and its elements' place and number in dense row-major order.
template <class F>
void for_each_row(const TensorLayout& layout, std::int64_t begin, std::int64_t end, F&& f) {
  // Out of the loops: what is called may write memory, so the compiler would look each up again.
  const std::int64_t width = layout.width(), height = layout.height();
  const std::int64_t channels = layout.channels();
  const std::size_t row_stride = layout.row_stride(), plane_stride = layout.plane_stride();
  std::int64_t first = begin * width;
  const auto rows = [&](std::size_t offset, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i, offset += row_stride, first += width)
      f(offset, first, width);
  };
  while (begin < end) {
    const std::int64_t in_plane = begin % height, channel = begin / height % channels;
    std::size_t plane = layout.row_offset(begin - in_plane);
    std::int64_t n = std::min(height - in_plane, end - begin);
    if (n < height) {  // the first plane, or the last one
      rows(plane + static_cast<std::size_t>(in_plane) * row_stride, n);
    } else {
      const std::int64_t planes = std::min(channels - channel, (end - begin) / height);
      for (std::int64_t c = 0; c < planes; ++c, plane += plane_stride) rows(plane, height);
      n = planes * height;
    }
    begin += n;
  }
}

// The same for every stretch of elements without padding: rows, or all of a packed surface.
template <class F>
void for_each_run(const TensorLayout& layout, F&& f) {
  if (layout.is_packed()) return f(std::size_t{0}, std::int64_t{0}, layout.logical_elements());
  for_each_row(layout, 0, layout.rows(), f);
}

// Copies between a surface's rows and a dense buffer, which both begin with row 0; both directions
// handle padding. All rows, or [begin, end).
void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense,
                          std::int64_t begin, std::int64_t end);
void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense,
                        std::int64_t begin, std::int64_t end);
inline void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface,
                                 const std::byte* dense) {
  copy_rows_from_dense(layout, surface, dense, 0, layout.rows());
}
inline void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface,
                               std::byte* dense) {
  copy_rows_to_dense(layout, surface, dense, 0, layout.rows());
}

}  // namespace milane

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
  check_shape();
  const std::size_t row = row_stride_for(width(), elem_size());
  strides_.resize(shape_.size());
  auto stride = static_cast<std::int64_t>(elem_size());
  for (std::size_t i = shape_.size(); i-- > 0;) {
    strides_[i] = stride;
    stride = i + 1 == shape_.size() ? static_cast<std::int64_t>(row) : stride * shape_[i];
  }
  alloc_size_ = row * static_cast<std::size_t>(rows());
  packed_ = rows() == 1 || row_bytes() == row;
}

TensorLayout::TensorLayout(DType dtype, Dims shape, Dims strides, std::size_t alloc_size)
    : dtype_(dtype),
      shape_(std::move(shape)),
      strides_(std::move(strides)),
      alloc_size_(alloc_size) {
  check_shape();
  check_strides();
  auto dense = static_cast<std::int64_t>(elem_size());
  for (std::size_t i = shape_.size(); i-- > 0; dense *= shape_[i]) {
    packed_ = packed_ && (shape_[i] == 1 || strides_[i] == dense);
  }
}

void TensorLayout::check_shape() const {
  if (dtype_ == DType::kString || is_sub_byte(dtype_)) {
    throw Error(ErrorCode::kLayout, "layout: expected a whole-byte numeric type, got " +
                                        std::string(dtype_name(dtype_)));
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
}

void TensorLayout::check_strides() const {
  const auto fail = [&](const std::string& expected) {
    throw Error(ErrorCode::kLayout, "layout: expected " + expected + ", got strides " +
                                        to_string(strides_) + " and " +
                                        std::to_string(alloc_size_) + " bytes for " +
                                        std::string(dtype_name(dtype_)) + " " + to_string(shape_));
  };
  const std::size_t rank = shape_.size();
  if (strides_.size() != rank) fail("one stride per axis");
  auto inner = static_cast<std::int64_t>(elem_size());  // bytes that one step must clear
  for (std::size_t i = rank; i-- > 0;) {
    const bool last = i + 1 == rank;
    if (last ? strides_[i] != inner : strides_[i] < inner) {
      fail(last ? "neighbouring elements in a row" : "axes that do not overlap");
    }
    if (i + 2 == rank && strides_[i] % static_cast<std::int64_t>(kRowAlignment) != 0) {
      fail("rows a multiple of 64 bytes apart");
    }
    if (strides_[i] > static_cast<std::int64_t>(alloc_size_)) fail("axes inside the allocation");
    inner = strides_[i] * shape_[i];
  }
  if (static_cast<std::int64_t>(alloc_size_) < inner) fail("an allocation that holds every row");
}

std::size_t TensorLayout::row_offset(std::int64_t i) const {
  std::int64_t offset = 0;
  for (std::size_t axis = shape_.size() < 2 ? 0 : shape_.size() - 1; axis-- > 0;
       i /= shape_[axis]) {
    offset += i % shape_[axis] * strides_[axis];
  }
  return static_cast<std::size_t>(offset);
}

namespace {

// Whether all rows lie one stride apart, whatever the plane.
bool rows_are_even(const TensorLayout& layout) {
  const std::vector<std::int64_t>& shape = layout.shape();
  std::int64_t next = static_cast<std::int64_t>(layout.row_stride()) * layout.height();
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (axis + 2 >= shape.size() || shape[axis] == 1) continue;
    if (layout.strides()[axis] != next) return false;
    next *= shape[axis];
  }
  return true;
}

// `count` pieces of kBytes, or of `bytes`; a call for each short row costs more than the row.
template <std::size_t kBytes>
void copy_pieces(std::byte* to, std::size_t to_step, const std::byte* from, std::size_t from_step,
                 std::int64_t count, std::size_t bytes = kBytes) {
  for (std::int64_t i = 0; i < count; ++i, to += to_step, from += from_step)
    std::memcpy(to, from, kBytes != 0 ? kBytes : bytes);
}

void copy_pieces_of(std::size_t bytes, std::byte* to, std::size_t to_step, const std::byte* from,
                    std::size_t from_step, std::int64_t count) {
  switch (bytes) {
    case 2:
      return copy_pieces<2>(to, to_step, from, from_step, count);
    case 4:
      return copy_pieces<4>(to, to_step, from, from_step, count);
    case 8:
      return copy_pieces<8>(to, to_step, from, from_step, count);
    case 16:
      return copy_pieces<16>(to, to_step, from, from_step, count);
    case 32:
      return copy_pieces<32>(to, to_step, from, from_step, count);
    default:
      return copy_pieces<0>(to, to_step, from, from_step, count, bytes);
  }
}

}  // namespace

void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense) {
  const std::size_t elem = layout.elem_size();
  if (!layout.is_packed() && rows_are_even(layout)) {
    const std::size_t row = static_cast<std::size_t>(layout.width()) * elem;
    return copy_pieces_of(row, surface, layout.row_stride(), dense, row, layout.rows());
  }
  for_each_run(layout, [=](std::size_t offset, std::int64_t first, std::int64_t count) {
    std::memcpy(surface + offset, dense + static_cast<std::size_t>(first) * elem,
                static_cast<std::size_t>(count) * elem);
  });
}

void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense) {
  const std::size_t elem = layout.elem_size();
  if (!layout.is_packed() && rows_are_even(layout)) {
    const std::size_t row = static_cast<std::size_t>(layout.width()) * elem;
    return copy_pieces_of(row, dense, row, surface, layout.row_stride(), layout.rows());
  }
  for_each_run(layout, [=](std::size_t offset, std::int64_t first, std::int64_t count) {
    std::memcpy(dense + static_cast<std::size_t>(first) * elem, surface + offset,
                static_cast<std::size_t>(count) * elem);
  });
}

}  // namespace milane

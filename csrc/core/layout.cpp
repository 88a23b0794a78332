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

// Rows of kPiece to 2 kPiece bytes: two pieces, which may overlap, of a size that the compiler
// knows. A call for each short row costs more than the row (measured: average pooling of 7x7 maps
// takes a quarter less).
template <std::size_t kPiece>
struct ShortRow {
  std::size_t bytes;
  void operator()(std::byte* to, const std::byte* from) const {
    std::memcpy(to, from, kPiece);
    std::memcpy(to + bytes - kPiece, from + bytes - kPiece, kPiece);
  }
};
struct LongRow {
  std::size_t bytes;
  void operator()(std::byte* to, const std::byte* from) const { std::memcpy(to, from, bytes); }
};

// each(what copies so many bytes)
template <class Each>
void with_row_copier(std::size_t bytes, Each&& each) {
  if (bytes < 2 || bytes > 64) return each(LongRow{bytes});
  if (bytes < 4) return each(ShortRow<2>{bytes});
  if (bytes < 8) return each(ShortRow<4>{bytes});
  if (bytes < 16) return each(ShortRow<8>{bytes});
  if (bytes < 32) return each(ShortRow<16>{bytes});
  each(ShortRow<32>{bytes});
}

// each(what copies a row, its place in the surface, its place in the dense buffer), in bytes
template <class Each>
void for_rows(const TensorLayout& layout, std::int64_t begin, std::int64_t end, Each each) {
  const std::size_t row = layout.row_bytes();
  if (layout.is_packed()) {
    const std::size_t at = static_cast<std::size_t>(begin) * row;
    return each(LongRow{static_cast<std::size_t>(end - begin) * row}, at, at);
  }
  with_row_copier(row, [&](auto copy) {
    // Takes copies: stores of bytes might change what is reached through a reference.
    for_each_row(
        layout, begin, end,
        [=, size = layout.elem_size()](std::size_t offset, std::int64_t first, std::int64_t) {
          each(copy, offset, static_cast<std::size_t>(first) * size);
        });
  });
}

}  // namespace

void copy_rows_from_dense(const TensorLayout& layout, std::byte* surface, const std::byte* dense,
                          std::int64_t begin, std::int64_t end) {
  for_rows(layout, begin, end, [=](auto copy, std::size_t padded, std::size_t packed) {
    copy(surface + padded, dense + packed);
  });
}

void copy_rows_to_dense(const TensorLayout& layout, const std::byte* surface, std::byte* dense,
                        std::int64_t begin, std::int64_t end) {
  for_rows(layout, begin, end, [=](auto copy, std::size_t padded, std::size_t packed) {
    copy(dense + packed, surface + padded);
  });
}

}  // namespace milane

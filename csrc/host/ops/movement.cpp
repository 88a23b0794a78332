#include "host/ops/movement.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"
#include "host/parallel.h"

namespace milane::host {
namespace {

constexpr std::int64_t kFlatChunkBytes = 256 << 10;
constexpr std::int64_t kTile = 32;  // 32 x 32 elements of both sides stay in the first-level cache

struct Pair {
  std::uint64_t low, high;
};

// memcpy of a fixed size: one move, whatever the alignment.
template <class T>
inline void move_item(std::byte* dst, const std::byte* src) {
  T item;
  std::memcpy(&item, src, sizeof(T));
  std::memcpy(dst, &item, sizeof(T));
}

template <class Body>
void dispatch_item(std::int64_t bytes, Body&& body) {
  switch (bytes) {
    case 1:
      return body.template operator()<std::uint8_t>();
    case 2:
      return body.template operator()<std::uint16_t>();
    case 4:
      return body.template operator()<std::uint32_t>();
    case 8:
      return body.template operator()<std::uint64_t>();
    default:
      return body.template operator()<Pair>();
  }
}

bool is_item_size(std::int64_t bytes) {
  return bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16;
}

}  // namespace

// Byte offsets on both sides for position `start` of the first `axes` axes; next() steps them like
// an odometer, so that no division is done per row.
class CopyWalk {
 public:
  CopyWalk(const StridedCopy& copy, int axes, std::int64_t start) : copy_(copy), axes_(axes) {
    for (int a = axes; a-- > 0;) {
      at_[a] = start % copy.dims_[a];
      start /= copy.dims_[a];
      src += at_[a] * copy.src_[a];
      dst += at_[a] * copy.dst_[a];
    }
  }

  void next() {
    for (int a = axes_; a-- > 0;) {
      src += copy_.src_[a];
      dst += copy_.dst_[a];
      if (++at_[a] < copy_.dims_[a]) return;
      src -= copy_.src_[a] * copy_.dims_[a];
      dst -= copy_.dst_[a] * copy_.dims_[a];
      at_[a] = 0;
    }
  }

  std::int64_t src = 0, dst = 0;

 private:
  const StridedCopy& copy_;
  int axes_;
  std::array<std::int64_t, kMaxAxes> at_{};
};

StridedCopy::StridedCopy(std::size_t element_bytes, const Dims& dims, const Dims& src_strides,
                         const Dims& dst_strides)
    : item_bytes_(static_cast<std::int64_t>(element_bytes)) {
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) {
      axes_ = 0;
      return;  // nothing to move
    }
    if (dims[i] != 1) add_axis(dims[i], src_strides[i] * item_bytes_, dst_strides[i] * item_bytes_);
  }
  choose_kind();
}

void StridedCopy::add_axis(std::int64_t dim, std::int64_t src, std::int64_t dst) {
  const int last = axes_ - 1;
  if (axes_ > 0 && src_[last] == src * dim && dst_[last] == dst * dim) {
    dims_[last] *= dim;
  } else {
    if (axes_ == kMaxAxes) {
      throw Error(ErrorCode::kUnsupported,
                  "copy: expected at most " + std::to_string(kMaxAxes) + " axes, got more");
    }
    dims_[axes_++] = dim;
  }
  src_[axes_ - 1] = src;
  dst_[axes_ - 1] = dst;
}

void StridedCopy::choose_kind() {
  if (axes_ == 0) add_axis(1, item_bytes_, item_bytes_);
  int last = axes_ - 1;
  if (src_[last] == item_bytes_ && dst_[last] == item_bytes_) {
    const std::int64_t run_bytes = dims_[last] * item_bytes_;
    if (axes_ == 1 || !is_item_size(run_bytes)) {
      kind_ = axes_ == 1 ? Kind::kFlat : Kind::kRuns;
      return;
    }
    item_bytes_ = run_bytes;  // a run this short is better moved as one item
    last = --axes_ - 1;
  }
  kind_ = Kind::kStrided;
  // The axes that are contiguous on either side; distinct ones make a transposition.
  int row = -1, column = -1;
  for (int a = 0; a < axes_; ++a) {
    if (src_[a] == item_bytes_) row = a;
    if (dst_[a] == item_bytes_) column = a;
  }
  if (row < 0 || column < 0 || row == column || dims_[row] < 4 || dims_[column] < 4) return;
  move_last(row);
  move_last(row < column ? column - 1 : column);
  kind_ = Kind::kTiles;
}

void StridedCopy::move_last(int axis) {
  std::rotate(dims_.begin() + axis, dims_.begin() + axis + 1, dims_.begin() + axes_);
  std::rotate(src_.begin() + axis, src_.begin() + axis + 1, src_.begin() + axes_);
  std::rotate(dst_.begin() + axis, dst_.begin() + axis + 1, dst_.begin() + axes_);
}

std::int64_t StridedCopy::positions(int axes) const {
  std::int64_t n = 1;
  for (int a = 0; a < axes; ++a) n *= dims_[a];
  return n;
}

template <class T>
void StridedCopy::run_strided(std::byte* dst, const std::byte* src) const {
  const std::int64_t n = dims_[axes_ - 1], from = src_[axes_ - 1], to = dst_[axes_ - 1];
  // rows x [n], a stride on either side
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    CopyWalk walk(*this, axes_ - 1, begin);
    for (std::int64_t r = begin; r < end; ++r, walk.next()) {
      const std::byte* s = src + walk.src;
      std::byte* d = dst + walk.dst;
      for (std::int64_t i = 0; i < n; ++i) move_item<T>(d + i * to, s + i * from);
    }
  };
  parallel_for(positions(axes_ - 1), grain_for_bytes(n * item_bytes_), body);
}

template <class T>
void StridedCopy::run_tiles(std::byte* dst, const std::byte* src) const {
  constexpr std::int64_t kItem = sizeof(T);
  const int row = axes_ - 2, column = axes_ - 1;
  const std::int64_t rows = dims_[row], columns = dims_[column];
  const std::int64_t src_pitch = src_[column], dst_pitch = dst_[row];
  const std::int64_t bands = (rows + kTile - 1) / kTile;
  // outer x bands of kTile rows: dst [rows][columns] = src [columns][rows]
  const auto band = [&](std::byte* d, const std::byte* s, std::int64_t first) {
    const std::int64_t last = std::min(first + kTile, rows);
    for (std::int64_t j0 = 0; j0 < columns; j0 += kTile) {
      const std::int64_t j1 = std::min(j0 + kTile, columns);
      for (std::int64_t i = first; i < last; ++i) {
        for (std::int64_t j = j0; j < j1; ++j) {
          move_item<T>(d + i * dst_pitch + j * kItem, s + i * kItem + j * src_pitch);
        }
      }
    }
  };
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    CopyWalk walk(*this, axes_ - 2, begin / bands);
    for (std::int64_t u = begin; u < end; ++u) {
      band(dst + walk.dst, src + walk.src, u % bands * kTile);
      if (u % bands == bands - 1) walk.next();
    }
  };
  parallel_for(positions(axes_ - 2) * bands,
               grain_for_bytes(std::min(rows, kTile) * columns * kItem), body);
}

void StridedCopy::run(std::byte* dst, const std::byte* src) const {
  switch (kind_) {
    case Kind::kNothing:
      return;
    case Kind::kFlat:
      return parallel_copy(dst, src, dims_[0] * item_bytes_);
    case Kind::kRuns: {
      const std::int64_t run_bytes = dims_[axes_ - 1] * item_bytes_;
      const auto body = [&](std::int64_t begin, std::int64_t end) {
        CopyWalk walk(*this, axes_ - 1, begin);
        for (std::int64_t r = begin; r < end; ++r, walk.next()) {
          std::memcpy(dst + walk.dst, src + walk.src, run_bytes);
        }
      };
      return parallel_for(positions(axes_ - 1), grain_for_bytes(run_bytes), body);
    }
    case Kind::kStrided:
      return dispatch_item(item_bytes_, [&]<class T>() { run_strided<T>(dst, src); });
    case Kind::kTiles:
      return dispatch_item(item_bytes_, [&]<class T>() { run_tiles<T>(dst, src); });
  }
}

std::size_t element_bytes(const OpSite& site, const Operand& operand) {
  if (operand.dtype == DType::kString || is_sub_byte(operand.dtype)) {
    throw Error(ErrorCode::kUnsupportedOp, site.args.operation().type +
                                               ": expected whole-byte elements, got " +
                                               std::string(dtype_name(operand.dtype)));
  }
  return dtype_size(operand.dtype);
}

RunFn run_copy(const Operand& x, const Operand& y, const StridedCopy& copy, std::int64_t src_offset,
               std::int64_t dst_offset) {
  return [=](const Exec& e) {
    copy.run(e.out<std::byte>(y) + dst_offset, e.in<std::byte>(x) + src_offset);
  };
}

void parallel_copy(std::byte* dst, const std::byte* src, std::int64_t bytes) {
  if (dst == src) return;
  parallel_for(bytes, kFlatChunkBytes, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(dst + begin, src + begin, end - begin);
  });
}

namespace {

template <class T>
Cell cell_of(T value) {
  Cell cell;
  cell.size = sizeof(T);
  std::memcpy(cell.bytes.data(), &value, sizeof(T));
  return cell;
}

}  // namespace

Cell encode_cell(DType dtype, double value) {
  switch (dtype) {
    case DType::kFp16:
      return cell_of(float_to_half(static_cast<float>(value)));
    case DType::kFp32:
      return cell_of(static_cast<float>(value));
    case DType::kFp64:
      return cell_of(value);
    case DType::kBool:
      return cell_of(static_cast<std::uint8_t>(value != 0));
    default:
      break;
  }
  // Two's complement, little end first: the low bytes are the narrower integer.
  Cell cell = cell_of(static_cast<std::int64_t>(value));
  cell.size = dtype_size(dtype);
  return cell;
}

void fill_cells(std::byte* dst, const Cell& cell, std::int64_t count) {
  dispatch_item(static_cast<std::int64_t>(cell.size), [&]<class T>() {
    if constexpr (sizeof(T) <= sizeof(cell.bytes)) {
      const std::byte* value = cell.bytes.data();
      for (std::int64_t i = 0; i < count; ++i) {
        move_item<T>(dst + i * static_cast<std::int64_t>(sizeof(T)), value);
      }
    }
  });
}

}  // namespace milane::host

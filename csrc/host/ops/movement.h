// Moving elements without changing a bit: the strided copy that transpose, slice, concat and their
// kin are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "host/op.h"

namespace milane::host {

// Most axes a tensor or a copy may have; tile and the block rearrangements double a tensor's own.
inline constexpr int kMaxAxes = 16;

// A copy between two strided tensors of one shape. Built at planning; run() does not allocate.
// Neighbouring axes that lie end to end on both sides are merged, so most copies end up as a few
// long memcpy; a transposition goes through square tiles.
class StridedCopy {
 public:
  StridedCopy() = default;
  // Strides count elements; a source stride may be zero (repeat), any stride may be negative.
  // Throws Error(kUnsupported) when more than kMaxAxes axes remain.
  StridedCopy(std::size_t element_bytes, const Dims& dims, const Dims& src_strides,
              const Dims& dst_strides);

  // Both pointers are at the element with index 0 on every axis.
  void run(std::byte* dst, const std::byte* src) const;

 private:
  friend class CopyWalk;
  enum class Kind : std::uint8_t { kNothing, kFlat, kRuns, kStrided, kTiles };

  void add_axis(std::int64_t dim, std::int64_t src, std::int64_t dst);
  void choose_kind();
  void move_last(int axis);
  std::int64_t positions(int axes) const;
  template <class T>
  void run_strided(std::byte* dst, const std::byte* src) const;
  template <class T>
  void run_tiles(std::byte* dst, const std::byte* src) const;

  Kind kind_ = Kind::kNothing;
  int axes_ = 0;
  std::int64_t item_bytes_ = 1;  // moved at once: an element, or a short contiguous run of them
  std::array<std::int64_t, kMaxAxes> dims_{}, src_{}, dst_{};  // strides in bytes
};

// Bytes of one element. Packed sub-byte tensors are refused: only constexpr operations read them.
std::size_t element_bytes(const OpSite& site, const Operand& operand);

// The step that runs one copy from `x` to `y`; offsets count bytes.
RunFn run_copy(const Operand& x, const Operand& y, const StridedCopy& copy,
               std::int64_t src_offset = 0, std::int64_t dst_offset = 0);

// memcpy by all threads; nothing to do when both are the same place.
void parallel_copy(std::byte* dst, const std::byte* src, std::int64_t bytes);

// One element as the tensor stores it.
struct Cell {
  std::array<std::byte, 8> bytes{};
  std::size_t size = 0;
};
// `value` rounded to `dtype`.
Cell encode_cell(DType dtype, double value);
// dst[i] = cell for i < count.
void fill_cells(std::byte* dst, const Cell& cell, std::int64_t count);

// Items per parallel chunk when each one moves `bytes`.
inline std::int64_t grain_for_bytes(std::int64_t bytes) {
  constexpr std::int64_t kChunkBytes = 64 << 10;
  return bytes >= kChunkBytes ? 1 : kChunkBytes / (bytes < 1 ? 1 : bytes);
}

}  // namespace milane::host

// Windows over one channel: its plane widened to floats, padded, and split by stride phase, so that
// what one tap contributes to all outputs of a plane is one contiguous run. Depthwise convolution
// and pooling work on it.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "host/ops/conv.h"

namespace milane::host {

struct Window {
  Spatial in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1};
  Spatial before{0, 0, 0};  // padding in front
  Spatial phase{1, 1, 1};   // strides that still matter: 1 where there is one output; depth is 1
  Spatial reach{1, 1, 1};   // rows and columns of one phase; padded depth
  // Floats from row to row: 8 or a multiple of 16. What a row's window sees past its end is the
  // padding in front of the next row.
  std::int64_t pitch = 1;

  Window() = default;
  Window(const Spatial& in, const Spatial& out, const Spatial& kernel, const Spatial& stride,
         const Spatial& dilation, const Spatial& before);

  std::int64_t taps() const { return volume(kernel); }
  // A multiple of 16.
  std::int64_t plane_floats() const;
  std::int64_t depth_floats() const { return phase[1] * phase_floats(); }
  std::int64_t phase_floats() const { return phase[2] * reach[1] * pitch; }
  // Floats of a plane in which every row holds one value per output column.
  std::int64_t middle_floats() const {
    return reach[0] * phase[1] * reach[1] * middle_pitch() + 16;
  }
  std::int64_t middle_pitch() const { return (out[2] + 15) / 16 * 16; }

  // Where a plane begins in plane_floats(): its rows of input are aligned to registers.
  std::int64_t lead() const;

  // The input into a plane, which holds the padding already.
  void fill(float* plane, DType dtype, const std::byte* src) const;
  // The inputs of so many, plane_floats() apart, whose padding is zeros; where is_plain().
  void fill_many(float* plane, DType dtype, const std::byte* src, std::int64_t planes) const;
  // One phase, one depth, and every element of the input is seen.
  bool is_plain() const;
  // The taps of the outputs of depth 0: all, in a plane; those of one row, in a plane; and those of
  // one column, in a middle plane. Weights are numbered as [depth][row][column].
  std::vector<WindowTap> taps_in_plane() const;
  std::vector<WindowTap> taps_along_rows() const;
  std::vector<WindowTap> taps_along_columns() const;
  // Those of a line that is cut into rows of WindowTile::kLine: a load serves taps that far apart,
  // and rows that follow each other have loads that straddle the same cache lines.
  std::vector<WindowTap> taps_along_line() const;
  bool is_line() const;

 private:
  // Where the input elements of one phase of an axis begin, in the input and in the phase.
  struct Run {
    std::int64_t from, to, count;
  };
  std::array<std::vector<Run>, 3> runs_;  // per axis and phase

  Run phase_run(std::size_t axis, std::int64_t p) const;
  std::int64_t least_pitch() const;
  std::vector<std::int64_t> column_offsets() const;
  std::vector<WindowTap> taps_at(const std::vector<std::int64_t>& columns, std::int64_t phase_step,
                                 std::int64_t row_step) const;
};

// Planes that a task works through, so that the padding is written once for all of them: more where
// they are small.
inline constexpr std::int64_t kTaskPlanes = 16, kMostPlanes = 256;

// body(slot, begin, end) for parts of `planes` of so many elements.
template <class Body>
void for_planes(int slots, std::int64_t planes, std::int64_t elements, Body body) {
  const std::int64_t share = planes / (4 * slots);
  const std::int64_t most = elements < 256 ? kMostPlanes : kTaskPlanes;
  const std::int64_t part = std::clamp<std::int64_t>(share, 1, most);
  run_slots(slots, (planes + part - 1) / part, [&](int slot, std::int64_t task) {
    body(slot, task * part, std::min(planes, (task + 1) * part));
  });
}

inline std::size_t float_bytes(std::int64_t floats) {
  return (static_cast<std::size_t>(floats) * sizeof(float) + 63) / 64 * 64;
}
inline std::int64_t bytes_of(DType dtype, std::int64_t elements) {
  return elements * static_cast<std::int64_t>(dtype_size(dtype));
}

// Convolution of every channel with `multiplier` kernels of its own.
struct DepthwiseConv {
  DepthwiseConv(const Window& window, std::int64_t batch, std::int64_t channels,
                std::int64_t multiplier);

  Window window;
  std::int64_t batch, channels, multiplier;
  std::shared_ptr<const std::vector<WindowTap>> taps;

  std::int64_t group() const;      // planes side by side in working memory
  std::size_t slot_bytes() const;  // of working memory per thread
  // y[batch, channels * multiplier, out...] from x[batch, channels, in...], weight[channels *
  // multiplier, taps].
  void run(DType dtype, const std::byte* x, const float* weight, const float* bias, DType out_dtype,
           std::byte* y, const Following& following, const Workspace& workspace) const;
};

}  // namespace milane::host

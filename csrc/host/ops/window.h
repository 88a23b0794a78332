// Windows over one channel: its plane widened to floats, padded, and split by stride phase, so that
// what one tap contributes to all outputs of a plane is one contiguous run. Depthwise convolution
// and pooling work on it.
#pragma once

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

  Window() = default;
  Window(const Spatial& in, const Spatial& out, const Spatial& kernel, const Spatial& stride,
         const Spatial& dilation, const Spatial& before);

  std::int64_t taps() const { return volume(kernel); }
  std::int64_t plane_floats() const { return reach[0] * depth_floats() + 16; }
  std::int64_t depth_floats() const { return phase[1] * phase[2] * reach[1] * reach[2]; }
  // Floats of a plane in which every row holds one value per output column.
  std::int64_t middle_floats() const {
    return reach[0] * phase[1] * reach[1] * middle_pitch() + 16;
  }
  std::int64_t middle_pitch() const { return (out[2] + 15) / 16 * 16; }

  // The input into plane[plane_floats], which holds the padding already.
  void fill(float* plane, DType dtype, const std::byte* src) const;
  // The taps of the outputs of depth 0: all, in a plane; those of one row, in a plane; and those of
  // one column, in a middle plane. Weights are numbered as [depth][row][column].
  std::vector<WindowTap> taps_in_plane() const;
  std::vector<WindowTap> taps_along_rows() const;
  std::vector<WindowTap> taps_along_columns() const;

 private:
  // Where the input elements of one phase of an axis begin, in the input and in the phase.
  struct Run {
    std::int64_t from, to, count;
  };
  std::array<std::vector<Run>, 3> runs_;  // per axis and phase

  Run phase_run(std::size_t axis, std::int64_t p) const;
  std::vector<std::int64_t> column_offsets() const;
  std::vector<WindowTap> taps_at(const std::vector<std::int64_t>& columns,
                                 std::int64_t phase_floats, std::int64_t pitch) const;
};

// Convolution of every channel with `multiplier` kernels of its own.
struct DepthwiseConv {
  DepthwiseConv(const Window& window, std::int64_t batch, std::int64_t channels,
                std::int64_t multiplier);

  Window window;
  std::int64_t batch, channels, multiplier;
  std::shared_ptr<const std::vector<WindowTap>> taps;

  std::size_t slot_bytes() const;  // of working memory per thread
  // y[batch, channels * multiplier, out...] from x[batch, channels, in...], weight[channels *
  // multiplier, taps].
  void run(DType dtype, const std::byte* x, const float* weight, const float* bias, DType out_dtype,
           std::byte* y, const Following& following, const Workspace& workspace) const;
};

// Pooling of every plane: along rows, then along columns.
struct Pool {
  enum class Kind { kMax, kAverage, kL2 };
  Pool(Kind kind, const Window& window, std::int64_t planes);

  Kind kind;
  Window window;
  std::int64_t planes;
  std::shared_ptr<const std::vector<WindowTap>> along_rows, along_columns;
  std::shared_ptr<const std::vector<float>> ones;  // a weight for each of them
  // Elements under each window, as the outputs lie; average only.
  std::shared_ptr<const std::vector<float>> counts;

  // `after` is the padding behind, which counts unless `exclude_padding`.
  void count_elements(const Spatial& after, bool exclude_padding);
  std::size_t slot_bytes() const;
  void run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
           const Workspace& workspace) const;

 private:
  bool whole() const;  // one window that is the plane
  void pool_whole(DType dtype, const std::byte* x, std::int64_t count, DType out_dtype,
                  std::byte* y, float* memory) const;
  void pool_plane(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
                  float* memory) const;
};

}  // namespace milane::host

// Windows over one channel: its plane widened to floats, padded, and split by stride phase, so that
// what one tap contributes to all outputs of a plane is one contiguous run. Depthwise convolution
// and pooling work on it.
#pragma once

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
  // Outputs of one depth: rows of out[2] at this pitch; what lies between them means nothing.
  std::int64_t pitch() const { return reach[2]; }
  std::int64_t run() const { return (out[1] - 1) * pitch() + out[2]; }
  std::int64_t plane_floats() const;
  std::int64_t run_floats() const { return (run() + 15) / 16 * 16; }

  // plane[plane_floats] from src[in...], with `pad` around it.
  void fill(float* plane, float pad, DType dtype, const std::byte* src) const;
  // Where the input elements of one phase of an axis begin, in the input and in the phase.
  struct Run {
    std::int64_t from, to, count;
  };
  Run phase_run(std::size_t axis, std::int64_t p) const;
  // rows[t][run] for the outputs of depth `d`.
  void rows_at(const float* plane, std::int64_t d, const float** rows) const;
};

// Convolution of every channel with `multiplier` kernels of its own.
struct DepthwiseConv {
  Window window;
  std::int64_t batch = 1, channels = 1, multiplier = 1;

  std::size_t slot_bytes() const;  // of working memory per thread
  // y[batch, channels * multiplier, out...] from x[batch, channels, in...], weight[channels *
  // multiplier, taps].
  void run(DType dtype, const std::byte* x, const float* weight, const float* bias, DType out_dtype,
           std::byte* y, const Workspace& workspace) const;
};

// Pooling of every plane.
struct Pool {
  enum class Kind { kMax, kAverage, kL2 };
  Kind kind = Kind::kMax;
  Window window;
  std::int64_t planes = 1;
  // Elements under each window, at the pitch of a run, one depth after the other; average only.
  std::shared_ptr<const std::vector<float>> counts;

  // `after` is the padding behind, which counts unless `exclude_padding`.
  void count_elements(const Spatial& after, bool exclude_padding);
  std::size_t slot_bytes() const;
  void run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
           const Workspace& workspace) const;
};

}  // namespace milane::host

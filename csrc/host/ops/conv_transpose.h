#pragma once

#include "host/ops/conv.h"

namespace milane::host {

// Weight [groups * in_channels, out_channels, kernel...]; output o gathers x[i] * weight[k] where
// o + before = i * stride + k * dilation. Outputs that nothing reaches are the bias.
struct TransposedConv {
  std::int64_t batch = 1, groups = 1, in_channels = 1, out_channels = 1;  // channels of one group
  Spatial in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1};
  Spatial before{0, 0, 0};

  struct Phase {
    TapConv conv;
    WeightLayout layout;
    PackedMatrix owned;
  };
  std::vector<Phase> phases;

  // Result rows origin, origin + stride, ... of every channel: their columns take turns in rows of
  // what phases leave. Offsets in elements.
  struct Source {
    std::int64_t offset, channel, row;
  };
  struct Rows {
    std::int64_t depth = 0, height = 0;    // origin
    std::int64_t depths = 0, heights = 0;  // how many
    std::vector<Source> columns;
    std::size_t phases = 0;  // so many run before, and may overwrite what the last Rows needed
  };
  std::vector<Rows> rows;

  void plan();
  void pack(const OpSite& site, const Operand& weight);
  std::size_t packed_bytes(DType dtype) const;  // of run-time weights
  std::size_t dense_bytes(DType dtype) const;   // of what phases leave
  std::int64_t bias_count() const;              // of the one phase, where all are joined
  std::size_t work_bytes(int slots) const;
  void run(DType dtype, const std::byte* x, DType weight_dtype, const std::byte* weight,
           const float* bias, DType out_dtype, std::byte* y, std::byte* packed, std::byte* dense,
           float* biases, const Following& following, const Workspace& workspace) const;

 private:
  // Kernels that lie side by side are one product, a row of it for every channel and tap.
  bool side_by_side() const;
  void plan_joined();
};

}  // namespace milane::host

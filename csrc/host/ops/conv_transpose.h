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
    Spatial origin{0, 0, 0};
    TapConv conv;
    WeightLayout layout;
    PackedMatrix owned;
  };
  std::vector<Phase> phases;

  void plan();
  void pack(const OpSite& site, const Operand& weight);
  std::size_t packed_bytes(DType dtype) const;  // of run-time weights
  std::size_t dense_bytes(DType dtype) const;   // of one phase's result
  std::size_t work_bytes(int slots) const;
  void run(DType dtype, const std::byte* x, DType weight_dtype, const std::byte* weight,
           const float* bias, DType out_dtype, std::byte* y, std::byte* packed, std::byte* dense,
           const Following& following, const Workspace& workspace) const;
};

}  // namespace milane::host

// Convolution as a product of packed weights with what each tap reads, shared by conv and
// conv_transpose. One, two and three spatial dimensions are all three here: leading ones are 1.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "host/baking.h"
#include "host/gemm.h"
#include "host/op.h"

namespace milane::host {

using Spatial = std::array<std::int64_t, 3>;

inline std::int64_t volume(const Spatial& s) { return s[0] * s[1] * s[2]; }
// The trailing dimensions of [batch, channels, spatial...].
Spatial spatial_of(const Dims& dims);
// A list of one value per spatial dimension, padded in front.
Spatial spatial_list(const Dims& values, std::int64_t front);

// Output position q reads input position q * step + offset, for every tap's offset.
struct TapConv {
  std::int64_t batch = 1, groups = 1;
  std::int64_t in_channels = 1, out_channels = 1;  // of one group
  Spatial in{1, 1, 1}, out{1, 1, 1}, step{1, 1, 1};
  std::vector<Spatial> taps;

  std::int64_t depth() const { return static_cast<std::int64_t>(taps.size()) * in_channels; }
};

// Packed weights, one matrix after the other for the groups; depth runs over taps, then channels,
// so that the columns of one tap are one strided block of the input.
struct TapWeights {
  DType dtype = DType::kFp16;
  std::byte* data = nullptr;  // tap_weight_bytes()

  PackedView group(const TapConv& conv, std::int64_t g) const {
    const std::size_t each = packed_bytes_of(dtype, conv.out_channels, conv.depth());
    return {dtype, data + static_cast<std::size_t>(g) * each, conv.out_channels, conv.depth()};
  }
};
std::size_t tap_weight_bytes(const TapConv& conv, DType dtype);
// Room for tap_weight_bytes().
PackedShape packed_taps(const TapConv& conv, DType dtype);

struct WeightLayout {
  std::int64_t group, out_channel, in_channel;  // strides in elements
  std::vector<std::int64_t> taps;               // offset of each tap
};
void pack_taps(const TapConv& conv, const WeightLayout& layout, const std::byte* weight,
               const TapWeights& to);

// Zeros in `count` columns of dst[depth][pitch].
void clear_columns(float* dst, std::int64_t pitch, std::int64_t count, std::int64_t depth);

// y[batch, groups * out_channels, out...] from x[batch, groups * in_channels, in...].
void run_taps(const TapConv& conv, const TapWeights& weights, const float* bias, DType dtype,
              const std::byte* x, DType out_dtype, std::byte* y, const Following& following,
              const Workspace& workspace);
std::size_t run_taps_bytes(const TapConv& conv, int slots);

// The same by strips of the input, which is what run_taps() does for all but a few columns.
void run_strips(const TapConv& conv, const TapWeights& weights, const float* bias, DType dtype,
                const std::byte* x, DType out_dtype, std::byte* y, const Following& following,
                const Workspace& workspace);
std::size_t run_strips_bytes(const TapConv& conv, int slots);

// Padding before the first element along one axis. `span` is the kernel's reach, (K - 1) * d + 1.
std::int64_t padding_before(const std::string& pad_type, std::int64_t custom, std::int64_t in,
                            std::int64_t out, std::int64_t span, std::int64_t stride);

}  // namespace milane::host

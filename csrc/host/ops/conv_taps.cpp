#include <algorithm>

#include "core/integers.h"
#include "host/gemv.h"
#include "host/ops/conv.h"

namespace milane::host {
namespace {

// Below this many multiply-adds per image, groups and images share the threads instead of tiles.
constexpr std::int64_t kSmallImage = 1 << 20;
// Up to this many columns a product streams its weights once, and is bound by that.
constexpr std::int64_t kFewColumns = 4;

// Columns of one image of one group: panel[depth][pitch].
struct ColumnPacker {
  const TapConv& conv;
  DType dtype;
  const std::byte* x;  // [in_channels, in...]

  // Neighbours [w0, w0 + count) of output row (d, h) for one tap and a run of channels.
  void row(float* dst, std::int64_t pitch, const Spatial& tap, std::int64_t channel,
           std::int64_t channels, std::int64_t d, std::int64_t h, std::int64_t w0,
           std::int64_t count) const {
    const std::int64_t id = d * conv.step[0] + tap[0], ih = h * conv.step[1] + tap[1];
    const bool inside = id >= 0 && id < conv.in[0] && ih >= 0 && ih < conv.in[1];
    const std::int64_t step = conv.step[2], width = conv.in[2];
    // First output column whose input is not before the row, and the first one past its end.
    std::int64_t low = std::clamp(floor_div(step - 1 - tap[2], step), w0, w0 + count);
    std::int64_t high = std::clamp(floor_div(width - 1 - tap[2], step) + 1, low, w0 + count);
    if (!inside) high = low;
    clear_columns(dst, pitch, low - w0, channels);
    clear_columns(dst + (high - w0), pitch, w0 + count - high, channels);
    if (high == low) return;
    const std::int64_t at =
        ((channel * conv.in[0] + id) * conv.in[1] + ih) * width + low * step + tap[2];
    pack_tile(dtype, dst + (low - w0), pitch, x + at * static_cast<std::int64_t>(dtype_size(dtype)),
              step, volume(conv.in), high - low, channels);
  }

  void operator()(float* panel, std::int64_t pitch, std::int64_t k0, std::int64_t depth,
                  std::int64_t first, std::int64_t count) const {
    for (std::int64_t k = 0; k < depth;) {
      const std::int64_t tap = (k0 + k) / conv.in_channels, channel = (k0 + k) % conv.in_channels;
      const std::int64_t channels = std::min(conv.in_channels - channel, depth - k);
      for (std::int64_t i = 0; i < count;) {
        const std::int64_t column = first + i, w = column % conv.out[2];
        const std::int64_t line = column / conv.out[2];
        const std::int64_t run = std::min(conv.out[2] - w, count - i);
        row(panel + k * pitch + i, pitch, conv.taps[static_cast<std::size_t>(tap)], channel,
            channels, line / conv.out[1], line % conv.out[1], w, run);
        i += run;
      }
      k += channels;
    }
  }
};

// One thread's columns, as floats.
std::size_t few_columns_bytes(const TapConv& conv) {
  return static_cast<std::size_t>(round_up(conv.depth() * volume(conv.out), kPanel)) *
         sizeof(float);
}

}  // namespace

void clear_columns(float* dst, std::int64_t pitch, std::int64_t count, std::int64_t depth) {
  if (count == 0) return;
  for (std::int64_t k = 0; k < depth; ++k, dst += pitch) std::fill_n(dst, count, 0.0f);
}

Spatial spatial_of(const Dims& dims) { return spatial_list(Dims(dims.begin() + 2, dims.end()), 1); }

Spatial spatial_list(const Dims& values, std::int64_t front) {
  Spatial s{front, front, front};
  std::copy(values.begin(), values.end(), s.end() - static_cast<std::ptrdiff_t>(values.size()));
  return s;
}

std::int64_t padding_before(const std::string& pad_type, std::int64_t custom, std::int64_t in,
                            std::int64_t out, std::int64_t span, std::int64_t stride) {
  if (pad_type == "custom") return custom;
  if (!pad_type.starts_with("same")) return 0;
  const std::int64_t total = std::max<std::int64_t>((out - 1) * stride + span - in, 0);
  return pad_type == "same_lower" ? total - total / 2 : total / 2;
}

std::size_t tap_weight_bytes(const TapConv& conv, DType dtype) {
  return static_cast<std::size_t>(conv.groups) *
         packed_bytes_of(dtype, conv.out_channels, conv.depth());
}

PackedShape packed_taps(const TapConv& conv, DType dtype) {
  const std::int64_t rows = (conv.out_channels + kPanel - 1) / kPanel * kPanel;
  return {dtype, conv.groups * rows, conv.depth()};
}

void pack_taps(const TapConv& conv, const WeightLayout& layout, const std::byte* weight,
               const TapWeights& to) {
  const auto size = static_cast<std::int64_t>(dtype_size(to.dtype));
  for (std::int64_t g = 0; g < conv.groups; ++g) {
    for (std::size_t t = 0; t < layout.taps.size(); ++t) {
      const std::byte* const from = weight + (g * layout.group + layout.taps[t]) * size;
      pack_rows(to.group(conv, g), {to.dtype, from, layout.out_channel, layout.in_channel},
                static_cast<std::int64_t>(t) * conv.in_channels, conv.in_channels);
    }
  }
}

std::size_t run_taps_bytes(const TapConv& conv, int slots) {
  if (volume(conv.out) > kFewColumns) return run_strips_bytes(conv, slots);
  return static_cast<std::size_t>(slots) * few_columns_bytes(conv);
}

void run_taps(const TapConv& conv, const TapWeights& weights, const float* bias, DType dtype,
              const std::byte* x, DType out_dtype, std::byte* y, const Following& following,
              const Workspace& ws) {
  if (volume(conv.out) > kFewColumns) {
    return run_strips(conv, weights, bias, dtype, x, out_dtype, y, following, ws);
  }
  const std::int64_t in = conv.in_channels * volume(conv.in), n = volume(conv.out);
  const std::int64_t out = conv.out_channels * n;
  const std::int64_t jobs = conv.batch * conv.groups;
  const auto run = [&](std::int64_t job, const Workspace& space) {
    const std::int64_t g = job % conv.groups;
    const ColumnPacker columns{conv, dtype,
                               x + job * in * static_cast<std::int64_t>(dtype_size(dtype))};
    const OutputRef c{out_dtype, y + job * out * static_cast<std::int64_t>(dtype_size(out_dtype)),
                      n, bias != nullptr ? bias + g * conv.out_channels : nullptr};
    float* const panel = reinterpret_cast<float*>(space.data);  // [depth][n]
    columns(panel, n, 0, conv.depth(), 0, n);
    run_vectors(weights.group(conv, g), panel, n, c, true, space.slots);
  };
  if (ws.slots > 1 && jobs > 1 && (jobs >= 2 * ws.slots || out * conv.depth() < kSmallImage)) {
    run_slots(ws.slots, jobs, [&](int slot, std::int64_t job) {
      run(job, {ws.data + static_cast<std::size_t>(slot) * few_columns_bytes(conv), 1});
    });
  } else {
    for (std::int64_t job = 0; job < jobs; ++job) run(job, ws);
  }
  following.run(out_dtype, y, jobs * out);
}

}  // namespace milane::host

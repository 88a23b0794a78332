// Convolution in strips: a thread widens the input under a block of outputs once, a tile's columns
// of all channels side by side, and every tap of every output channel reads it there.
#include <algorithm>

#include "core/integers.h"
#include "host/ops/conv.h"

namespace milane::host {
namespace {

// A strip of this many floats stays in the second-level cache beside two panels of weights; half as
// many are up to 3 % slower, where strips overlap.
constexpr std::int64_t kStripFloats = 1 << 17;
// Tasks per thread, so that threads end together.
constexpr std::int64_t kTasks = 4;
// Turning a tile costs as much as this much depth, measured.
constexpr std::int64_t kTurning = 10;

// Tiles with columns in lanes leave lanes idle at the end of a line. Those with output channels in
// lanes turn their results, at a cost that a long sum makes small, and read less often where taps
// and panels share what they read; measured.
bool fills_wide_tiles(const TapConv& conv) {
  const std::int64_t deepest = conv.taps.size() == 1 ? 192 : conv.out_channels <= kPanel ? 160 : 64;
  if (conv.depth() > deepest) return false;
  const std::int64_t lanes = std::min<std::int64_t>(kernels().nr, kPanel);
  const std::int64_t idle = round_up(conv.out[2], lanes) - conv.out[2];
  return idle * conv.depth() <= kTurning * conv.out[2];
}

// One task's outputs: rows x columns of one depth, panels of output channels.
struct Block {
  std::int64_t rows, columns, panels;
};

// The strip of a block: [segment][depth][row][phase][channel][pitch], phases being the remainders
// of columns modulo the stride. A segment is one tile's columns where there is one tap, so that a
// tile reads without gaps; else all columns, because tiles share what is under their edges.
struct Strip {
  const TapConv& conv;
  bool wide_tiles;  // of columns in lanes (conv_wide)
  Block block;
  Spatial low, span;  // of the taps' offsets
  std::int64_t phases;
  std::int64_t wide = 0;                // columns of a tile
  std::int64_t segment = 0, pitch = 0;  // columns of a segment, and of the input under it
  std::int64_t tile_step = 0;           // floats from tile to tile

  Strip(const TapConv& c, const Block& b)
      : conv(c), wide_tiles(fills_wide_tiles(c)), block(b), low{0, 0, 0}, span{0, 0, 0} {
    for (std::size_t i = 0; i < 3; ++i) {
      if (conv.taps.empty()) break;
      const auto [least, most] =
          std::minmax_element(conv.taps.begin(), conv.taps.end(),
                              [i](const Spatial& a, const Spatial& b) { return a[i] < b[i]; });
      low[i] = (*least)[i];
      span[i] = (*most)[i] - low[i];
    }
    phases = std::min(conv.step[2], span[2] + 1);
    resize(b);
  }
  void resize(const Block& b) {
    block = b;
    wide = wide_tiles ? kernels().nr : equal_part(b.columns, kernels().conv_columns, 1);
    segment = conv.taps.size() > 1 ? b.columns : wide;
    pitch = segment + span[2] / conv.step[2];
    // Channels a multiple of 128 bytes apart would share few sets of the first-level cache, unless
    // all of them is read.
    if (pitch % 32 == 0 && pitch > wide) pitch += 16;
    tile_step = conv.taps.size() > 1 ? wide : segment_floats();
  }
  // Where the taps of the block's first row lie in a strip: divisions, so once a task.
  void place_taps(std::int64_t* to) const {
    for (const Spatial& tap : conv.taps) {
      const std::int64_t line = (tap[0] - low[0]) * lines() + tap[1] - low[1];
      const std::int64_t column = tap[2] - low[2];
      *to++ = line * line_floats() + column % conv.step[2] * conv.in_channels * pitch +
              column / conv.step[2];
    }
  }
  std::int64_t lines() const { return (block.rows - 1) * conv.step[1] + span[1] + 1; }
  std::int64_t line_floats() const { return phases * conv.in_channels * pitch; }
  std::int64_t segment_floats() const { return (span[0] + 1) * lines() * line_floats(); }
  std::int64_t floats() const { return ceil_div(block.columns, segment) * segment_floats(); }

  bool depth_used(std::int64_t d) const {
    return std::any_of(conv.taps.begin(), conv.taps.end(),
                       [&](const Spatial& t) { return t[0] - low[0] == d; });
  }
  bool line_used(std::int64_t line) const {
    return std::any_of(conv.taps.begin(), conv.taps.end(), [&](const Spatial& t) {
      const std::int64_t from = line - (t[1] - low[1]);
      return from >= 0 && from % conv.step[1] == 0;
    });
  }

  // The input under the segment of outputs from (d, h, w) on.
  void pack(DType dtype, const std::byte* x, const Spatial& at, float* to) const {
    for (std::int64_t kd = 0; kd <= span[0]; ++kd) {
      const std::int64_t id = at[0] * conv.step[0] + low[0] + kd;
      if (id < 0 || id >= conv.in[0] || !depth_used(kd)) continue;
      for (std::int64_t line = 0; line < lines(); ++line) {
        const std::int64_t ih = at[1] * conv.step[1] + low[1] + line;
        if (ih < 0 || ih >= conv.in[1] || !line_used(line)) continue;
        for (std::int64_t p = 0; p < phases; ++p) {
          pack_row(dtype, x, (id * conv.in[1] + ih) * conv.in[2], at[2] * conv.step[2] + low[2] + p,
                   to + ((kd * lines() + line) * phases + p) * conv.in_channels * pitch);
        }
      }
    }
  }
  void pack_row(DType dtype, const std::byte* x, std::int64_t row, std::int64_t first,
                float* dst) const {
    const std::int64_t step = conv.step[2], count = pitch;
    const std::int64_t begin =
        std::clamp<std::int64_t>(floor_div(step - 1 - first, step), 0, count);
    const std::int64_t end = std::clamp(floor_div(conv.in[2] - 1 - first, step) + 1, begin, count);
    clear_columns(dst, pitch, begin, conv.in_channels);
    clear_columns(dst + end, pitch, count - end, conv.in_channels);
    if (begin == end) return;
    const std::int64_t at = row + first + begin * step;
    pack_tile(dtype, dst + begin, pitch, x + at * static_cast<std::int64_t>(dtype_size(dtype)),
              step, volume(conv.in), end - begin, conv.in_channels);
  }

  // The taps of output row (d, h) that meet input; the others are padding and add nothing.
  std::int64_t taps_at(const Spatial& at, std::int64_t h, const float* strip,
                       const std::int64_t* places, ConvTap* to) const {
    const ConvTap* const begin = to;
    const float* const rows = strip + (h - at[1]) * conv.step[1] * line_floats();
    std::int64_t weight = 0;
    for (std::size_t i = 0; i < conv.taps.size(); ++i) {
      const Spatial& tap = conv.taps[i];
      const std::int64_t id = at[0] * conv.step[0] + tap[0], ih = h * conv.step[1] + tap[1];
      if (id >= 0 && id < conv.in[0] && ih >= 0 && ih < conv.in[1])
        *to++ = {rows + places[i], weight};
      weight += conv.in_channels * kPanel;
    }
    return to - begin;
  }
};

struct Grid {
  Strip strip;
  std::int64_t rows, columns, panels;  // blocks along each

  Grid(const TapConv& c, int slots) : strip(c, {1, c.out[2], ceil_div(c.out_channels, kPanel)}) {
    const std::int64_t unit = strip.wide_tiles ? kernels().nr : kernels().conv_columns;
    Block b = strip.block;
    const auto fits = [&](const Block& block) {
      strip.resize(block);
      return strip.floats() <= kStripFloats;
    };
    while (b.columns > unit && !fits(b)) b.columns = equal_part(c.out[2], b.columns / 2, unit);
    strip.resize({1, b.columns, b.panels});
    const std::int64_t lines = kStripFloats / (strip.floats() / strip.lines());
    const std::int64_t most = (lines - strip.span[1] - 1) / c.step[1] + 1;
    b.rows = equal_part(c.out[1], std::clamp<std::int64_t>(most, 1, c.out[1]), 1);
    const auto count = [&] {
      rows = ceil_div(c.out[1], b.rows);
      columns = ceil_div(c.out[2], b.columns);
      panels = ceil_div(ceil_div(c.out_channels, kPanel), b.panels);
      return c.batch * c.groups * c.out[0] * rows * columns * panels;
    };
    while (slots > 1 && count() < kTasks * slots) {
      if (b.rows > 1) {
        b.rows = equal_part(c.out[1], b.rows / 2, 1);
      } else if (b.panels > kernels().conv_panels) {
        b.panels =
            equal_part(ceil_div(c.out_channels, kPanel), b.panels / 2, kernels().conv_panels);
      } else if (b.columns > 2 * unit) {
        b.columns = equal_part(c.out[2], b.columns / 2, unit);
      } else {
        break;
      }
    }
    strip.resize(b);
    count();
  }

  // The taps of a row, and their places.
  std::size_t tap_bytes() const {
    return (strip.conv.taps.size() * (sizeof(ConvTap) + sizeof(std::int64_t)) + 63) / 64 * 64;
  }
  // A panel of widened weights, where tiles need floats.
  std::size_t panel_bytes() const {
    const std::int64_t floats = strip.wide_tiles ? strip.conv.depth() * kPanel : 0;
    return static_cast<std::size_t>(floats) * sizeof(float);
  }
  std::size_t slot_bytes() const {
    const std::int64_t floats = strip.floats() + kernels().nr;  // read past the last column
    return tap_bytes() + panel_bytes() +
           (static_cast<std::size_t>(floats) * sizeof(float) + 63) / 64 * 64;
  }
};

int slots_for(const TapConv& c, int slots) {
  const std::int64_t outputs = c.batch * c.groups * c.out_channels * volume(c.out);
  return outputs * c.depth() < kSmallProduct ? 1 : slots;
}

struct Job {
  PackedView weights;
  DType dtype;
  const std::byte* x;
  OutputRef y;
  const Following& following;
};

// The tiles of a panel of weights, or of two. `widened` is room for one as floats: then columns are
// in lanes.
class PanelTiles {
 public:
  PanelTiles(const PackedView& w, std::int64_t p, float* widened)
      : wide_(widened != nullptr), dtype_(w.dtype) {
    const std::int64_t at = p * w.depth * kPanel;
    data_ = w.data + at * static_cast<std::int64_t>(dtype_size(w.dtype));
    if (!wide_ || dtype_ != DType::kFp16) return;
    kernels().half_to_float(widened, reinterpret_cast<const Half*>(data_),
                            static_cast<std::size_t>(w.depth * kPanel));
    data_ = reinterpret_cast<const std::byte*>(widened);
  }
  // Leaves the tile as it was. By reference: a copy would wait for what was just written to it.
  void operator()(ConvTile& tile) const {
    const Kernels& k = kernels();
    const float* const floats = reinterpret_cast<const float*>(data_);
    if (!wide_) {
      if (dtype_ == DType::kFp16)
        return k.conv_tile_half(tile, reinterpret_cast<const Half*>(data_));
      return k.conv_tile_float(tile, floats);
    }
    const std::int64_t rows = tile.rows;
    void* const y = tile.y;
    const float* const bias = tile.bias;
    const std::int64_t step = k.mr * tile.row_stride * (tile.half ? 2 : 4);
    for (std::int64_t i = 0; i < rows; i += k.mr) {
      tile.rows = std::min<std::int64_t>(k.mr, rows - i);
      k.conv_wide(tile, floats + i);
      tile.y = static_cast<std::byte*>(tile.y) + step;
      if (tile.bias != nullptr) tile.bias += k.mr;
    }
    tile.rows = rows;
    tile.y = y;
    tile.bias = bias;
  }

 private:
  bool wide_;
  DType dtype_;
  const std::byte* data_;
};

void run_block(const Grid& grid, const Job& job, std::int64_t task, std::byte* memory) {
  const Strip& strip = grid.strip;
  const TapConv& conv = strip.conv;
  const Kernels& k = kernels();
  const std::int64_t first = task % grid.panels * strip.block.panels;
  task /= grid.panels;
  Spatial at;
  at[2] = task % grid.columns * strip.block.columns;
  task /= grid.columns;
  at[1] = task % grid.rows * strip.block.rows;
  at[0] = task / grid.rows;
  ConvTap* const taps = reinterpret_cast<ConvTap*>(memory);
  auto* const places = reinterpret_cast<std::int64_t*>(taps + conv.taps.size());
  strip.place_taps(places);
  float* const widened = reinterpret_cast<float*>(memory + grid.tap_bytes());
  float* const floats = reinterpret_cast<float*>(memory + grid.tap_bytes() + grid.panel_bytes());
  const std::int64_t columns = std::min(strip.block.columns, conv.out[2] - at[2]);
  const std::int64_t tiles = ceil_div(columns, strip.wide);
  for (std::int64_t w = 0; w < columns; w += strip.segment) {
    strip.pack(job.dtype, job.x, {at[0], at[1], at[2] + w},
               floats + w / strip.segment * strip.segment_floats());
  }
  const std::int64_t rows_end = std::min(at[1] + strip.block.rows, conv.out[1]);
  const std::int64_t panels_end =
      std::min(first + strip.block.panels, ceil_div(conv.out_channels, kPanel));
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(job.y.dtype));
  const std::int64_t step = strip.wide_tiles ? 1 : k.conv_panels;
  for (std::int64_t p = first; p < panels_end; p += step) {
    ConvTile tile{};
    tile.tap = taps;
    tile.channels = conv.in_channels;
    tile.pitch = strip.pitch;
    tile.panel = job.weights.depth * kPanel;
    tile.panels = std::min<std::int64_t>(step, panels_end - p);
    tile.half = job.y.dtype == DType::kFp16;
    tile.rows = std::min(tile.panels * kPanel, conv.out_channels - p * kPanel);
    tile.row_stride = job.y.row_stride;
    tile.bias = job.y.row_bias != nullptr ? job.y.row_bias + p * kPanel : nullptr;
    tile.after = job.following.code.data();
    tile.steps = job.following.steps();
    const PanelTiles run(job.weights, p, strip.wide_tiles ? widened : nullptr);
    const std::int64_t all = tiles * (rows_end - at[1]);  // tiles of these panels
    const bool more = p + step < panels_end;
    const auto weight_size = static_cast<std::int64_t>(dtype_size(job.weights.dtype));
    const std::byte* next = job.weights.data + (more ? p + step : p) * tile.panel * weight_size;
    tile.next_apart = tile.panel * weight_size;
    tile.next_step = more ? ceil_div(kPanel * weight_size, all) : 0;
    for (std::int64_t h = at[1]; h < rows_end; ++h) {
      tile.taps = strip.taps_at(at, h, floats, places, taps);
      const std::int64_t line = (at[0] * conv.out[1] + h) * conv.out[2] + at[2];
      for (std::int64_t t = 0; t < tiles; ++t) {
        tile.column = t * strip.tile_step;
        tile.next = next;
        next += tile.next_step * tile.taps * tile.channels;
        tile.columns = std::min(strip.wide, columns - t * strip.wide);
        const std::int64_t to = p * kPanel * job.y.row_stride + line + t * strip.wide;
        tile.y = static_cast<std::byte*>(job.y.data) + to * size;
        run(tile);
      }
    }
  }
}

}  // namespace

std::size_t run_strips_bytes(const TapConv& conv, int slots) {
  slots = slots_for(conv, slots);
  return static_cast<std::size_t>(slots) * Grid(conv, slots).slot_bytes();
}

void run_strips(const TapConv& conv, const TapWeights& weights, const float* bias, DType dtype,
                const std::byte* x, DType out_dtype, std::byte* y, const Following& following,
                const Workspace& ws) {
  const int slots = slots_for(conv, ws.slots);
  const Grid grid(conv, slots);
  const std::int64_t in = conv.in_channels * volume(conv.in), n = volume(conv.out);
  const std::int64_t blocks = conv.out[0] * grid.rows * grid.columns * grid.panels;
  run_slots(slots, conv.batch * conv.groups * blocks, [&](int slot, std::int64_t task) {
    const std::int64_t job = task / blocks, g = job % conv.groups;
    const auto bytes = [](DType type) { return static_cast<std::int64_t>(dtype_size(type)); };
    const OutputRef c{out_dtype, y + job * conv.out_channels * n * bytes(out_dtype), n,
                      bias != nullptr ? bias + g * conv.out_channels : nullptr};
    run_block(grid, {weights.group(conv, g), dtype, x + job * in * bytes(dtype), c, following},
              task % blocks, ws.data + static_cast<std::size_t>(slot) * grid.slot_bytes());
  });
}

}  // namespace milane::host

#include "host/ops/window.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace milane::host {

Window::Window(const Spatial& in_, const Spatial& out_, const Spatial& kernel_,
               const Spatial& stride_, const Spatial& dilation_, const Spatial& before_)
    : in(in_), out(out_), kernel(kernel_), stride(stride_), dilation(dilation_), before(before_) {
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t length = (out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1;
    phase[i] = i == 0 || out[i] == 1 ? 1 : stride[i];
    reach[i] = (length + phase[i] - 1) / phase[i];
    for (std::int64_t p = 0; p < phase[i]; ++p) runs_[i].push_back(phase_run(i, p));
  }
}

void Window::fill(float* plane, DType dtype, const std::byte* src) const {
  for (std::int64_t d = 0; d < in[0]; ++d) {
    const std::int64_t pd = d + before[0];
    if (pd >= reach[0]) break;
    for (std::int64_t ph = 0; ph < phase[1]; ++ph) {
      const Run rows = runs_[1][static_cast<std::size_t>(ph)];
      for (std::int64_t pw = 0; pw < phase[2]; ++pw) {
        const Run columns = runs_[2][static_cast<std::size_t>(pw)];
        if (rows.count <= 0 || columns.count <= 0) continue;
        float* const to =
            plane + (((pd * phase[1] + ph) * phase[2] + pw) * reach[1] + rows.to) * reach[2];
        const std::int64_t at = (d * in[1] + rows.from) * in[2] + columns.from;
        pack_tile(dtype, to + columns.to, reach[2],
                  src + at * static_cast<std::int64_t>(dtype_size(dtype)), phase[2],
                  phase[1] * in[2], columns.count, rows.count);
      }
    }
  }
}

Window::Run Window::phase_run(std::size_t axis, std::int64_t p) const {
  const std::int64_t step = phase[axis];
  const std::int64_t from = ((p - before[axis]) % step + step) % step;
  const std::int64_t to = (from + before[axis]) / step;
  return {from, to, std::min((in[axis] - from + step - 1) / step, reach[axis] - to)};
}

std::vector<std::int64_t> Window::column_offsets() const {
  std::vector<std::int64_t> all;
  for (std::int64_t kw = 0; kw < kernel[2]; ++kw) {
    const std::int64_t pw = kw * dilation[2];
    all.push_back(pw % phase[2] * reach[1] * reach[2] + pw / phase[2]);
  }
  return all;
}

std::vector<WindowTap> Window::taps_at(const std::vector<std::int64_t>& columns,
                                       std::int64_t phase_floats, std::int64_t pitch) const {
  std::vector<WindowTap> all;
  for (std::int64_t kd = 0; kd < kernel[0]; ++kd) {
    for (std::size_t kw = 0; kw < columns.size(); ++kw) {
      for (std::int64_t p = 0; p < phase[1]; ++p) {
        std::int64_t next = -1;  // the row that would go on with the last tap
        for (std::int64_t kh = 0; kh < kernel[1]; ++kh) {
          if (kh * dilation[1] % phase[1] != p) continue;
          const std::int64_t row = kh * dilation[1] / phase[1];
          if (row != next || all.back().rows == WindowTap::kRows) {
            const std::int64_t line = (kd * dilation[0] * phase[1] + p) * phase_floats;
            all.push_back({line + row * pitch + columns[kw], {}, 0});
          }
          WindowTap& tap = all.back();
          tap.weight[tap.rows++] = (kd * kernel[1] + kh) * std::ssize(columns) + std::int64_t(kw);
          next = row + 1;
        }
      }
    }
  }
  return all;
}

std::vector<WindowTap> Window::taps_in_plane() const {
  return taps_at(column_offsets(), phase[2] * reach[1] * reach[2], reach[2]);
}

std::vector<WindowTap> Window::taps_along_rows() const {
  std::vector<WindowTap> all;
  for (const std::int64_t column : column_offsets()) all.push_back({column, {}, 1});
  return all;
}

std::vector<WindowTap> Window::taps_along_columns() const {
  return taps_at({0}, reach[1] * middle_pitch(), middle_pitch());
}

namespace {

// Planes that a task works through, so that the padding is written once for all of them.
constexpr std::int64_t kTaskPlanes = 16;

std::size_t float_bytes(std::int64_t floats) {
  return (static_cast<std::size_t>(floats) * sizeof(float) + 63) / 64 * 64;
}

std::int64_t bytes_of(DType dtype, std::int64_t elements) {
  return elements * static_cast<std::int64_t>(dtype_size(dtype));
}

// body(slot, begin, end) for parts of `planes`.
template <class Body>
void for_planes(int slots, std::int64_t planes, Body body) {
  const std::int64_t share = planes / (4 * slots);
  const std::int64_t part = std::clamp<std::int64_t>(share, 1, kTaskPlanes);
  run_slots(slots, (planes + part - 1) / part, [&](int slot, std::int64_t task) {
    body(slot, task * part, std::min(planes, (task + 1) * part));
  });
}

}  // namespace

DepthwiseConv::DepthwiseConv(const Window& w, std::int64_t b, std::int64_t c, std::int64_t m)
    : window(w),
      batch(b),
      channels(c),
      multiplier(m),
      taps(std::make_shared<const std::vector<WindowTap>>(w.taps_in_plane())) {}

std::size_t DepthwiseConv::slot_bytes() const { return float_bytes(window.plane_floats()); }

void DepthwiseConv::run(DType dtype, const std::byte* x, const float* weight, const float* bias,
                        DType out_dtype, std::byte* y, const Following& following,
                        const Workspace& ws) const {
  const Window& w = window;
  WindowTile shape{};
  shape.taps = taps->data();
  shape.count = std::ssize(*taps);
  shape.row_step = w.reach[2];
  shape.half = out_dtype == DType::kFp16;
  shape.rows = w.out[1];
  shape.columns = shape.row_stride = w.out[2];
  for_planes(ws.slots, batch * channels, [&](int slot, std::int64_t begin, std::int64_t end) {
    float* const plane =
        reinterpret_cast<float*>(ws.data + static_cast<std::size_t>(slot) * slot_bytes());
    std::fill_n(plane, w.plane_floats(), 0.0f);
    WindowTile tile = shape;
    for (std::int64_t job = begin; job < end; ++job) {
      w.fill(plane, dtype, x + bytes_of(dtype, job * volume(w.in)));
      for (std::int64_t j = 0; j < multiplier; ++j) {
        const std::int64_t channel = job % channels * multiplier + j;
        tile.weights = weight + channel * w.taps();
        tile.bias = bias != nullptr ? bias[channel] : 0.0f;
        for (std::int64_t d = 0; d < w.out[0]; ++d) {
          tile.x = plane + d * w.stride[0] * w.depth_floats();
          const std::int64_t at = (job * multiplier + j) * w.out[0] + d;
          tile.y = y + bytes_of(out_dtype, at * w.out[1] * w.out[2]);
          kernels().window_sum(tile);
          following.run(out_dtype, tile.y, w.out[1] * w.out[2]);
        }
      }
    }
  });
}

Pool::Pool(Kind k, const Window& w, std::int64_t n)
    : kind(k),
      window(w),
      planes(n),
      along_rows(std::make_shared<const std::vector<WindowTap>>(w.taps_along_rows())),
      along_columns(std::make_shared<const std::vector<WindowTap>>(w.taps_along_columns())),
      ones(std::make_shared<const std::vector<float>>(w.taps(), 1.0f)) {}

void Pool::count_elements(const Spatial& after, bool exclude_padding) {
  const Window& w = window;
  std::array<std::vector<float>, 3> along;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::int64_t o = 0; o < w.out[i]; ++o) {
      const std::int64_t begin = o * w.stride[i] - w.before[i], end = begin + w.kernel[i];
      const std::int64_t low = exclude_padding ? std::max<std::int64_t>(begin, 0) : begin;
      // ceil_mode windows may reach past the padding: what lies there never counts.
      const std::int64_t high = std::min(end, exclude_padding ? w.in[i] : w.in[i] + after[i]);
      along[i].push_back(static_cast<float>(std::max<std::int64_t>(high - low, 1)));
    }
  }
  auto all = std::make_shared<std::vector<float>>();
  for (const float d : along[0]) {
    for (const float h : along[1]) {
      for (const float x : along[2]) all->push_back(d * h * x);
    }
  }
  all->resize(all->size() + 16, 1.0f);  // read a register at a time
  counts = std::move(all);
}

bool Pool::whole() const {
  return volume(window.out) == 1 && window.kernel == window.in && window.before == Spatial{0, 0, 0};
}

std::size_t Pool::slot_bytes() const {
  if (whole()) return float_bytes(kTaskPlanes * (volume(window.in) + 1));
  return float_bytes(window.plane_floats()) + float_bytes(window.middle_floats());
}

// y[count] from x[count][in]
void Pool::pool_whole(DType dtype, const std::byte* x, std::int64_t count, DType out_dtype,
                      std::byte* y, float* memory) const {
  const Kernels& k = kernels();
  const std::int64_t size = volume(window.in);
  float* const result = memory;
  float* const values = memory + kTaskPlanes;
  pack_tile(dtype, values, count * size, x, 1, 0, count * size, 1);
  for (std::int64_t i = 0; i < count; ++i) {
    const float* const from = values + i * size;
    const auto n = static_cast<std::size_t>(size);
    result[i] = kind == Kind::kMax       ? k.max(from, n)
                : kind == Kind::kAverage ? k.sum(from, n) / counts->front()
                                         : std::sqrt(k.sum_of_squares(from, 0.0f, n));
  }
  store_tile({out_dtype, y, count}, 0, 0, result, count, 1, count);
}

void Pool::pool_plane(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
                      float* memory) const {
  const Window& w = window;
  const auto kernel = kind == Kind::kMax ? kernels().window_max : kernels().window_sum;
  float* const middle = memory + float_bytes(w.plane_floats()) / sizeof(float);
  w.fill(memory, dtype, x);
  if (kind == Kind::kL2) {
    for (std::int64_t i = 0; i < w.plane_floats(); ++i) memory[i] *= memory[i];
  }
  WindowTile tile{};
  tile.weights = ones->data();
  tile.taps = along_rows->data();
  tile.count = std::ssize(*along_rows);
  tile.row_step = w.reach[2];
  tile.row_stride = w.middle_pitch();
  tile.rows = w.reach[1];
  tile.columns = w.out[2];
  for (std::int64_t i = 0; i < w.reach[0] * w.phase[1]; ++i) {
    tile.x = memory + i * w.phase[2] * w.reach[1] * w.reach[2];
    tile.y = middle + i * w.reach[1] * w.middle_pitch();
    kernel(tile);
  }
  tile.taps = along_columns->data();
  tile.count = std::ssize(*along_columns);
  tile.row_step = w.middle_pitch();
  tile.row_stride = w.out[2];
  tile.rows = w.out[1];
  tile.half = out_dtype == DType::kFp16;
  tile.root = kind == Kind::kL2;
  const std::int64_t step = w.stride[0] * w.phase[1] * w.reach[1] * w.middle_pitch();
  for (std::int64_t d = 0; d < w.out[0]; ++d) {
    tile.x = middle + d * step;
    tile.y = y + bytes_of(out_dtype, d * w.out[1] * w.out[2]);
    if (kind == Kind::kAverage) tile.divisors = counts->data() + d * w.out[1] * w.out[2];
    kernel(tile);
  }
}

// y[planes, out...] from x[planes, in...]
void Pool::run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
               const Workspace& ws) const {
  const float outside = kind == Kind::kMax ? -std::numeric_limits<float>::infinity() : 0.0f;
  const std::int64_t in = volume(window.in), out = volume(window.out);
  for_planes(ws.slots, planes, [&](int slot, std::int64_t begin, std::int64_t end) {
    float* const memory =
        reinterpret_cast<float*>(ws.data + static_cast<std::size_t>(slot) * slot_bytes());
    if (whole()) {
      return pool_whole(dtype, x + bytes_of(dtype, begin * in), end - begin, out_dtype,
                        y + bytes_of(out_dtype, begin), memory);
    }
    std::fill_n(memory, window.plane_floats(), outside);
    for (std::int64_t job = begin; job < end; ++job) {
      pool_plane(dtype, x + bytes_of(dtype, job * in), out_dtype,
                 y + bytes_of(out_dtype, job * out), memory);
    }
  });
}

}  // namespace milane::host

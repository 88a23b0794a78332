#include "host/ops/window.h"

#include <algorithm>

namespace milane::host {
namespace {

// As the kernels want them.
void sort_by_rows(std::vector<WindowTap>& taps) {
  std::stable_sort(taps.begin(), taps.end(), [](auto& a, auto& b) { return a.rows > b.rows; });
}

}  // namespace

Window::Window(const Spatial& in_, const Spatial& out_, const Spatial& kernel_,
               const Spatial& stride_, const Spatial& dilation_, const Spatial& before_)
    : in(in_), out(out_), kernel(kernel_), stride(stride_), dilation(dilation_), before(before_) {
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t length = (out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1;
    phase[i] = i == 0 || out[i] == 1 ? 1 : stride[i];
    reach[i] = (length + phase[i] - 1) / phase[i];
    for (std::int64_t p = 0; p < phase[i]; ++p) runs_[i].push_back(phase_run(i, p));
  }
  const std::int64_t least = least_pitch();
  const bool pairs = least <= 8 && out[2] <= 8;  // of rows in a register of sixteen
  pitch = reach[1] == 1 ? reach[2] : pairs ? 8 : (least + 15) / 16 * 16;
}

// A row's input must fit, and what is read past the row's end must be padding of the next one.
std::int64_t Window::least_pitch() const {
  std::int64_t least = 1, padding = reach[2];
  for (const Run& run : runs_[2]) {
    if (run.count <= 0) continue;
    least = std::max(least, run.to + run.count);
    padding = std::min(padding, run.to);
  }
  return std::max(least, reach[2] - padding);
}

std::int64_t Window::lead() const {
  const Run &rows = runs_[1].front(), &columns = runs_[2].front();
  const std::int64_t first = std::max<std::int64_t>(rows.to, 0) * pitch + columns.to;
  return (16 - first % 16) % 16;
}

std::int64_t Window::plane_floats() const {
  // A register past the last row, and a row of 8 that its pair would be.
  return (lead() + reach[0] * depth_floats() + reach[2] + 24 + 15) / 16 * 16;
}

bool Window::is_plain() const {
  return reach[0] == 1 && in[0] == 1 && phase[1] == 1 && phase[2] == 1 &&
         runs_[1].front().count == in[1] && runs_[2].front().count == in[2];
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
            plane + (((pd * phase[1] + ph) * phase[2] + pw) * reach[1] + rows.to) * pitch;
        const std::int64_t at = (d * in[1] + rows.from) * in[2] + columns.from;
        pack_tile(dtype, to + columns.to, pitch,
                  src + at * static_cast<std::int64_t>(dtype_size(dtype)), phase[2],
                  phase[1] * in[2], columns.count, rows.count);
      }
    }
  }
}

void Window::fill_many(float* plane, DType dtype, const std::byte* src, std::int64_t n) const {
  const Kernels& k = kernels();
  float* const to = plane + runs_[1].front().to * pitch + runs_[2].front().to;
  if (dtype == DType::kFp16) {
    const Half* const from = reinterpret_cast<const Half*>(src);
    k.widen_planes_half(to, plane_floats(), pitch, from, in[2], in[1], n);
  } else {
    const float* const from = reinterpret_cast<const float*>(src);
    k.widen_planes_float(to, plane_floats(), pitch, from, in[2], in[1], n);
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
    all.push_back(pw % phase[2] * reach[1] * pitch + pw / phase[2]);
  }
  return all;
}

std::vector<WindowTap> Window::taps_at(const std::vector<std::int64_t>& columns,
                                       std::int64_t phase_step, std::int64_t row_step) const {
  std::vector<WindowTap> all;
  for (std::int64_t kd = 0; kd < kernel[0]; ++kd) {
    for (std::size_t kw = 0; kw < columns.size(); ++kw) {
      for (std::int64_t p = 0; p < phase[1]; ++p) {
        std::int64_t next = -1;  // the row that would go on with the last tap
        for (std::int64_t kh = 0; kh < kernel[1]; ++kh) {
          if (kh * dilation[1] % phase[1] != p) continue;
          const std::int64_t row = kh * dilation[1] / phase[1];
          if (row != next || all.back().rows == WindowTap::kRows) {
            const std::int64_t line = (kd * dilation[0] * phase[1] + p) * phase_step;
            all.push_back({line + row * row_step + columns[kw], {}, 0});
          }
          WindowTap& tap = all.back();
          tap.weight[tap.rows++] = (kd * kernel[1] + kh) * std::ssize(columns) + std::int64_t(kw);
          next = row + 1;
        }
      }
    }
  }
  sort_by_rows(all);
  return all;
}

std::vector<WindowTap> Window::taps_in_plane() const {
  return taps_at(column_offsets(), phase_floats(), pitch);
}

std::vector<WindowTap> Window::taps_along_rows() const {
  std::vector<WindowTap> all;
  for (const std::int64_t column : column_offsets()) all.push_back({column, {}, 1});
  return all;
}

std::vector<WindowTap> Window::taps_along_columns() const {
  return taps_at({0}, reach[1] * middle_pitch(), middle_pitch());
}

std::vector<WindowTap> Window::taps_along_line() const {
  std::vector<WindowTap> all;
  for (std::int64_t column = 0; column < WindowTile::kLine; ++column) {
    std::int64_t next = -1;  // the row that would go on with the last tap
    for (std::int64_t kw = 0; kw < kernel[2]; ++kw) {
      const std::int64_t at = kw * dilation[2], row = at / WindowTile::kLine;
      if (at % WindowTile::kLine != column) continue;
      if (row != next || all.back().rows == WindowTap::kRows) all.push_back({at, {}, 0});
      WindowTap& tap = all.back();
      tap.weight[tap.rows++] = kw;
      next = row + 1;
    }
  }
  sort_by_rows(all);
  return all;
}

bool Window::is_line() const {
  return in[0] == 1 && out[0] == 1 && reach[0] == 1 && in[1] == 1 && reach[1] == 1 &&
         phase[2] == 1 && out[2] >= WindowTile::kLine;
}

DepthwiseConv::DepthwiseConv(const Window& w, std::int64_t b, std::int64_t c, std::int64_t m)
    : window(w),
      batch(b),
      channels(c),
      multiplier(m),
      taps(std::make_shared<const std::vector<WindowTap>>(w.is_line() ? w.taps_along_line()
                                                                      : w.taps_in_plane())) {}

std::int64_t DepthwiseConv::group() const {
  constexpr std::int64_t kFloats = 4096;  // a third of a first-level cache
  if (window.is_line() || multiplier != 1 || window.out[0] != 1 || !window.is_plain()) return 1;
  return std::clamp<std::int64_t>(kFloats / window.plane_floats(), 1, kTaskPlanes);
}

std::size_t DepthwiseConv::slot_bytes() const {
  return float_bytes(group() * window.plane_floats());
}

void DepthwiseConv::run(DType dtype, const std::byte* x, const float* weight, const float* bias,
                        DType out_dtype, std::byte* y, const Following& following,
                        const Workspace& ws) const {
  const Window& w = window;
  const Kernels& k = kernels();
  WindowTile shape{};
  shape.taps = taps->data();
  shape.count = std::ssize(*taps);
  shape.row_step = w.is_line() ? WindowTile::kLine : w.pitch;
  shape.half = out_dtype == DType::kFp16;
  shape.rows = w.out[1];
  shape.columns = shape.row_stride = w.out[2];
  const std::int64_t many = group(), floats = w.plane_floats(), out = w.out[1] * w.out[2];
  const bool plain = w.is_plain();
  for_planes(
      ws.slots, batch * channels, floats, [&](int slot, std::int64_t begin, std::int64_t end) {
        float* const memory =
            reinterpret_cast<float*>(ws.data + static_cast<std::size_t>(slot) * slot_bytes());
        float* const plane = memory + w.lead();
        std::fill_n(memory, many * floats, 0.0f);
        WindowTile tile = shape;
        for (std::int64_t job = begin, n = 1; job < end; job += n) {
          const std::int64_t first = job % channels;
          n = std::min({many, end - job, channels - first});
          const std::byte* const from = x + bytes_of(dtype, job * volume(w.in));
          plain ? w.fill_many(plane, dtype, from, n) : w.fill(plane, dtype, from);
          for (std::int64_t o = 0; o < multiplier * w.out[0]; ++o) {
            const std::int64_t channel = first * multiplier + o / w.out[0], d = o % w.out[0];
            const float* const biases = bias != nullptr ? bias + channel : nullptr;
            tile.weights = weight + channel * w.taps();
            tile.x = plane + d * w.stride[0] * w.depth_floats();
            tile.y = y + bytes_of(out_dtype, (job * multiplier * w.out[0] + o) * out);
            k.window_sum(tile, {n, floats, w.taps(), biases});
            following.run(out_dtype, tile.y, n * out);
          }
        }
      });
}

}  // namespace milane::host

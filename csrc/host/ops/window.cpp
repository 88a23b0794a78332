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
  }
}

std::int64_t Window::plane_floats() const {
  return (volume(phase) * volume(reach) + 15) / 16 * 16 + 16;
}

void Window::fill(float* plane, float pad, DType dtype, const std::byte* src) const {
  std::fill_n(plane, plane_floats(), pad);
  for (std::int64_t d = 0; d < in[0]; ++d) {
    const std::int64_t pd = d + before[0];
    if (pd >= reach[0]) break;
    for (std::int64_t ph = 0; ph < phase[1]; ++ph) {
      const Run rows = phase_run(1, ph);
      for (std::int64_t pw = 0; pw < phase[2]; ++pw) {
        const Run columns = phase_run(2, pw);
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

void Window::rows_at(const float* plane, std::int64_t d, const float** rows) const {
  for (std::int64_t kd = 0; kd < kernel[0]; ++kd) {
    const std::int64_t pd = d * stride[0] + kd * dilation[0];
    for (std::int64_t kh = 0; kh < kernel[1]; ++kh) {
      const std::int64_t ph = kh * dilation[1];
      const std::int64_t line = (pd * phase[1] + ph % phase[1]) * phase[2];
      for (std::int64_t kw = 0; kw < kernel[2]; ++kw) {
        const std::int64_t pw = kw * dilation[2];
        *rows++ =
            plane + ((line + pw % phase[2]) * reach[1] + ph / phase[1]) * reach[2] + pw / phase[2];
      }
    }
  }
}

namespace {

// One thread's share of the working memory.
struct Slot {
  float* plane;
  float* line;
  const float** rows;

  Slot(const Window& w, std::byte* memory)
      : plane(reinterpret_cast<float*>(memory)),
        line(plane + w.plane_floats()),
        rows(reinterpret_cast<const float**>(line + w.run_floats())) {}

  static std::size_t bytes(const Window& w) {
    const auto floats = static_cast<std::size_t>(w.plane_floats() + w.run_floats());
    const std::size_t sum =
        floats * sizeof(float) + static_cast<std::size_t>(w.taps()) * sizeof(float*);
    return (sum + 63) / 64 * 64;
  }
};

std::int64_t input_bytes(const Window& w, DType dtype) {
  return volume(w.in) * static_cast<std::int64_t>(dtype_size(dtype));
}

// The rows of depth `d` of plane number `plane` of y.
void store_run(const Window& w, DType dtype, std::byte* y, std::int64_t plane, std::int64_t d,
               const float* line) {
  const std::int64_t at = (plane * w.out[0] + d) * w.out[1] * w.out[2];
  store_tile({dtype, y + at * static_cast<std::int64_t>(dtype_size(dtype)), w.out[2]}, 0, 0, line,
             w.pitch(), w.out[1], w.out[2]);
}

}  // namespace

std::size_t DepthwiseConv::slot_bytes() const { return Slot::bytes(window); }

void DepthwiseConv::run(DType dtype, const std::byte* x, const float* weight, const float* bias,
                        DType out_dtype, std::byte* y, const Workspace& ws) const {
  const auto run = static_cast<std::size_t>(window.run());
  run_slots(ws.slots, batch * channels, [&](int index, std::int64_t job) {
    const Slot slot(window, ws.data + static_cast<std::size_t>(index) * slot_bytes());
    window.fill(slot.plane, 0.0f, dtype, x + job * input_bytes(window, dtype));
    for (std::int64_t d = 0; d < window.out[0]; ++d) {
      window.rows_at(slot.plane, d, slot.rows);
      for (std::int64_t j = 0; j < multiplier; ++j) {
        const std::int64_t channel = job % channels * multiplier + j;
        const float* const taps = weight + channel * window.taps();
        kernels().weighted_rows(slot.line, slot.rows, taps, window.taps(), run);
        if (bias != nullptr) kernels().scale_shift(slot.line, slot.line, 1.0f, bias[channel], run);
        store_run(window, out_dtype, y, job * multiplier + j, d, slot.line);
      }
    }
  });
}

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
  auto all =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(w.out[0] * w.run()), 1.0f);
  for (std::int64_t d = 0; d < w.out[0]; ++d) {
    for (std::int64_t h = 0; h < w.out[1]; ++h) {
      for (std::int64_t x = 0; x < w.out[2]; ++x) {
        (*all)[static_cast<std::size_t>(d * w.run() + h * w.pitch() + x)] =
            along[0][static_cast<std::size_t>(d)] * along[1][static_cast<std::size_t>(h)] *
            along[2][static_cast<std::size_t>(x)];
      }
    }
  }
  counts = std::move(all);
}

std::size_t Pool::slot_bytes() const {
  // Behind the tap rows: a weight of 1 for each tap.
  return Slot::bytes(window) +
         (static_cast<std::size_t>(window.taps()) * sizeof(float) + 63) / 64 * 64;
}

// y[planes, out...] from x[planes, in...]
void Pool::run(DType dtype, const std::byte* x, DType out_dtype, std::byte* y,
               const Workspace& ws) const {
  const float outside = kind == Kind::kMax ? -std::numeric_limits<float>::infinity() : 0.0f;
  const std::int64_t run = window.run();
  run_slots(ws.slots, planes, [&](int index, std::int64_t job) {
    std::byte* const memory = ws.data + static_cast<std::size_t>(index) * slot_bytes();
    const Slot slot(window, memory);
    float* const ones = reinterpret_cast<float*>(memory + Slot::bytes(window));
    std::fill_n(ones, window.taps(), 1.0f);
    window.fill(slot.plane, outside, dtype, x + job * input_bytes(window, dtype));
    if (kind == Kind::kL2) {
      for (std::int64_t i = 0; i < window.plane_floats(); ++i) slot.plane[i] *= slot.plane[i];
    }
    for (std::int64_t d = 0; d < window.out[0]; ++d) {
      window.rows_at(slot.plane, d, slot.rows);
      if (kind == Kind::kMax) {
        kernels().max_rows(slot.line, slot.rows, window.taps(), static_cast<std::size_t>(run));
      } else {
        kernels().weighted_rows(slot.line, slot.rows, ones, window.taps(),
                                static_cast<std::size_t>(run));
      }
      if (kind == Kind::kAverage) {
        const float* const count = counts->data() + d * run;
        for (std::int64_t i = 0; i < run; ++i) slot.line[i] /= count[i];
      } else if (kind == Kind::kL2) {
        for (std::int64_t i = 0; i < run; ++i) slot.line[i] = std::sqrt(slot.line[i]);
      }
      store_run(window, out_dtype, y, job, d, slot.line);
    }
  });
}

}  // namespace milane::host

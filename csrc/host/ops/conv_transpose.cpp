// conv_transpose: outputs that share a remainder modulo the strides use the same taps at the same
// offsets, so each such phase is an ordinary convolution of stride 1. Where every output has one
// tap, all phases are one pointwise convolution.
#include <algorithm>
#include <memory>

#include "core/integers.h"
#include "host/ops/conv_transpose.h"
#include "host/ops/operands.h"

namespace milane::host {
namespace {

// Positions of one axis that one phase computes: origin, origin + stride, ...
struct AxisPhase {
  std::int64_t origin = 0, count = 0;
  std::vector<std::int64_t> taps, offsets;  // input = position + offset
};

std::vector<AxisPhase> axis_phases(std::int64_t out, std::int64_t kernel, std::int64_t stride,
                                   std::int64_t dilation, std::int64_t before) {
  std::vector<AxisPhase> phases;
  for (std::int64_t p = 0; p < std::min(stride, out); ++p) {
    AxisPhase phase{p, (out - p + stride - 1) / stride, {}, {}};
    for (std::int64_t k = 0; k < kernel; ++k) {
      const std::int64_t at = p + before - k * dilation;
      if (at % stride != 0) continue;
      phase.taps.push_back(k);
      phase.offsets.push_back(at / stride);
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

void zip_rows(Half* y, std::int64_t y_stride, const Half* a, std::int64_t a_stride, const Half* b,
              std::int64_t b_stride, std::int64_t rows, std::int64_t n) {
  kernels().zip_rows_half(y, y_stride, a, a_stride, b, b_stride, rows, n);
}
void zip_rows(float* y, std::int64_t y_stride, const float* a, std::int64_t a_stride,
              const float* b, std::int64_t b_stride, std::int64_t rows, std::int64_t n) {
  kernels().zip_rows_float(y, y_stride, a, a_stride, b, b_stride, rows, n);
}

// The rows of one plane of y.
template <class T>
void weave_plane(const TransposedConv& c, const TransposedConv::Rows& rows, std::int64_t channel,
                 const T* dense, T* y) {
  const std::int64_t width = c.out[2], y_stride = c.stride[1] * width;
  const std::int64_t ways = static_cast<std::int64_t>(rows.columns.size());
  const auto row = [&](std::int64_t way, std::int64_t d, std::int64_t h) {
    const TransposedConv::Source& s = rows.columns[static_cast<std::size_t>(way)];
    return dense + s.offset + channel * s.channel + (d * rows.heights + h) * s.row;
  };
  for (std::int64_t d = 0; d < rows.depths; ++d) {
    T* to = y + ((d * c.stride[0] + rows.depth) * c.out[1] + rows.height) * width;
    if (ways == 2) {
      zip_rows(to, y_stride, row(0, d, 0), rows.columns[0].row, row(1, d, 0), rows.columns[1].row,
               rows.heights, width / 2);
      if (width % 2 == 0) continue;
      for (std::int64_t h = 0; h < rows.heights; ++h)
        to[h * y_stride + width - 1] = row(0, d, h)[width / 2];
      continue;
    }
    for (std::int64_t h = 0; h < rows.heights; ++h, to += y_stride) {
      if (ways == 1) {
        std::copy_n(row(0, d, h), width, to);
        continue;
      }
      for (std::int64_t p = 0; p < ways; ++p) {
        const T* from = row(p, d, h);
        for (std::int64_t w = p; w < width; w += ways) to[w] = *from++;
      }
    }
  }
}

template <class T>
void weave(const TransposedConv& c, const TransposedConv::Rows& rows, const T* dense, T* y) {
  const std::int64_t elements = rows.depths * rows.heights * c.out[2];
  parallel_for(c.batch * c.groups * c.out_channels, std::max<std::int64_t>(1, 16384 / elements),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   weave_plane(c, rows, i, dense, y + i * volume(c.out));
               });
}

}  // namespace

bool TransposedConv::side_by_side() const {
  for (std::size_t i = 0; i < 3; ++i) {
    if (kernel[i] != stride[i] || out[i] != in[i] * stride[i] || before[i] != 0) return false;
    if (kernel[i] > 1 && dilation[i] != 1) return false;
  }
  return true;
}

void TransposedConv::plan_joined() {
  const std::int64_t taps = volume(kernel), pixels = volume(in);
  Phase phase;
  phase.conv.batch = batch;
  phase.conv.groups = groups;
  phase.conv.in_channels = in_channels;
  phase.conv.out_channels = out_channels * taps;
  phase.conv.in = phase.conv.out = {1, 1, pixels};
  phase.conv.taps = {{0, 0, 0}};
  phase.layout = {in_channels * out_channels * taps, 1, out_channels * taps, {0}};
  phases.push_back(std::move(phase));
  for (std::int64_t d = 0; d < kernel[0]; ++d) {
    for (std::int64_t h = 0; h < kernel[1]; ++h) {
      Rows r{d, h, in[0], in[1], {}, d + h == 0 ? std::size_t{1} : 0};
      for (std::int64_t w = 0; w < kernel[2]; ++w)
        r.columns.push_back({((d * kernel[1] + h) * kernel[2] + w) * pixels, taps * pixels, in[2]});
      rows.push_back(std::move(r));
    }
  }
}

void TransposedConv::plan() {
  if (side_by_side()) return plan_joined();
  std::array<std::vector<AxisPhase>, 3> axes;
  for (std::size_t i = 0; i < 3; ++i)
    axes[i] = axis_phases(out[i], kernel[i], stride[i], dilation[i], before[i]);
  const std::int64_t taps = volume(kernel);
  for (const AxisPhase& d : axes[0]) {
    for (const AxisPhase& h : axes[1]) {
      Rows r{d.origin, h.origin, d.count, h.count, {}, axes[2].size()};
      std::int64_t offset = 0;
      for (const AxisPhase& w : axes[2]) {
        const std::int64_t channel = d.count * h.count * w.count;
        r.columns.push_back({offset, channel, w.count});
        offset += batch * groups * out_channels * channel;
        Phase phase;
        phase.conv.batch = batch;
        phase.conv.groups = groups;
        phase.conv.in_channels = in_channels;
        phase.conv.out_channels = out_channels;
        phase.conv.in = in;
        phase.conv.out = {d.count, h.count, w.count};
        phase.layout = {in_channels * out_channels * taps, taps, out_channels * taps, {}};
        for (std::size_t i = 0; i < d.taps.size(); ++i) {
          for (std::size_t j = 0; j < h.taps.size(); ++j) {
            for (std::size_t k = 0; k < w.taps.size(); ++k) {
              phase.conv.taps.push_back({d.offsets[i], h.offsets[j], w.offsets[k]});
              phase.layout.taps.push_back((d.taps[i] * kernel[1] + h.taps[j]) * kernel[2] +
                                          w.taps[k]);
            }
          }
        }
        phases.push_back(std::move(phase));
      }
      rows.push_back(std::move(r));
    }
  }
}

void TransposedConv::pack(const OpSite& site, const Operand& weight) {
  for (Phase& phase : phases) {
    phase.owned = pack_constant(
        site, weight, packed_taps(phase.conv, weight.dtype), [&](const PackedView& to) {
          pack_taps(phase.conv, phase.layout, weight.constant, {to.dtype, to.data});
        });
  }
}

std::size_t TransposedConv::packed_bytes(DType dtype) const {
  std::size_t most = 0;
  for (const Phase& phase : phases) most = std::max(most, tap_weight_bytes(phase.conv, dtype));
  return (most + 63) / 64 * 64;
}

std::size_t TransposedConv::dense_bytes(DType dtype) const {
  if (rows.size() == 1 && rows[0].columns.size() == 1) return 0;  // y is what the phase leaves
  std::int64_t most = 0;
  for (const Rows& r : rows) {
    const Source& last = r.columns.back();
    most = std::max(most, last.offset + batch * groups * out_channels * last.channel);
  }
  return static_cast<std::size_t>(round_up(most, 64)) * dtype_size(dtype);
}

std::int64_t TransposedConv::bias_count() const {
  const std::int64_t count = phases[0].conv.out_channels;
  return count == out_channels ? 0 : groups * count;
}

std::size_t TransposedConv::work_bytes(int slots) const {
  std::size_t most = 0;
  for (const Phase& phase : phases) most = std::max(most, run_taps_bytes(phase.conv, slots));
  return most;
}

void TransposedConv::run(DType dtype, const std::byte* x, DType weight_dtype,
                         const std::byte* weight, const float* bias, DType out_dtype, std::byte* y,
                         std::byte* packed, std::byte* dense, float* biases,
                         const Following& following, const Workspace& ws) const {
  if (bias != nullptr && bias_count() != 0) {
    for (std::int64_t i = 0; i < groups * out_channels; ++i)
      std::fill_n(biases + i * volume(kernel), volume(kernel), bias[i]);
    bias = biases;
  }
  const auto size = static_cast<std::int64_t>(dtype_size(out_dtype));
  const bool direct = dense_bytes(out_dtype) == 0;
  const Phase* phase = phases.data();
  for (const Rows& r : rows) {
    for (std::size_t i = 0; i < r.phases; ++i, ++phase) {
      TapWeights weights{weight_dtype, phase->owned.view().data};
      if (weights.data == nullptr) {
        weights.data = packed;
        pack_taps(phase->conv, phase->layout, weight, weights);
      }
      run_taps(phase->conv, weights, bias, dtype, x, out_dtype,
               direct ? y : dense + r.columns[i].offset * size, following, ws);
    }
    if (direct) continue;
    dispatch_float(out_dtype, [&]<class T>() {
      weave(*this, r, reinterpret_cast<const T*>(dense), reinterpret_cast<T*>(y));
    });
  }
}

RunFn op_conv_transpose(OpSite& site) {
  const Operand x = site.in("x"), weight = site.in("weight"), y = site.out();
  require_float(site, {x, weight, site.in("bias")});
  const std::size_t n = x.dims.size() - 2;
  auto conv = std::make_shared<TransposedConv>();
  conv->batch = x.dims[0];
  conv->groups = site.args.integer("groups");
  conv->in_channels = x.dims[1] / conv->groups;
  conv->out_channels = weight.dims[1];
  conv->in = spatial_of(x.dims);
  conv->out = spatial_of(y.dims);
  conv->kernel = spatial_of(weight.dims);
  conv->stride = spatial_list(site.args.integers_or("strides", n, 1), 1);
  conv->dilation = spatial_list(site.args.integers_or("dilations", n, 1), 1);
  const auto pad = site.args.integers_or("pad", 2 * n, 0);
  const std::string& type = site.args.text("pad_type");
  for (std::size_t i = 3 - n; i < 3; ++i) {
    // The padding of the convolution whose input would be our output.
    const std::int64_t span = (conv->kernel[i] - 1) * conv->dilation[i] + 1;
    conv->before[i] = padding_before(type, pad[2 * (i + n - 3)], conv->out[i], conv->in[i], span,
                                     conv->stride[i]);
  }
  conv->plan();
  if (weight.is_constant()) conv->pack(site, weight);

  const FloatValues bias(site, site.in("bias"));
  const int slots = num_threads();
  const Scratch packed = site.scratch(weight.is_constant() ? 0 : conv->packed_bytes(weight.dtype));
  const Scratch dense = site.scratch(conv->dense_bytes(y.dtype));
  const Scratch biases = site.scratch(static_cast<std::size_t>(conv->bias_count()) * sizeof(float));
  const Scratch work = site.scratch(conv->work_bytes(slots));
  return [=, following = site.following(),
          c = std::shared_ptr<const TransposedConv>(std::move(conv))](const Exec& e) {
    c->run(x.dtype, e.in<std::byte>(x), weight.dtype, e.in<std::byte>(weight), bias.get(e), y.dtype,
           e.out<std::byte>(y), e.scratch<std::byte>(packed), e.scratch<std::byte>(dense),
           e.scratch<float>(biases), *following, {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace milane::host

// conv_transpose: outputs that share a remainder modulo the strides use the same taps at the same
// offsets, so each such phase is an ordinary convolution of stride 1.
#include <algorithm>
#include <memory>

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

// y[origin + stride * q] = dense[q] for every channel of one image.
template <class T>
void scatter(const TransposedConv& c, const TransposedConv::Phase& phase, const T* dense, T* y) {
  const Spatial& n = phase.conv.out;
  const std::int64_t channels = c.groups * c.out_channels;
  parallel_for(c.batch * channels, std::max<std::int64_t>(1, 16384 / volume(n)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const T* from = dense + i * volume(n);
                   T* const plane = y + i * volume(c.out);
                   for (std::int64_t d = 0; d < n[0]; ++d) {
                     for (std::int64_t h = 0; h < n[1]; ++h, from += n[2]) {
                       const std::int64_t row = (d * c.stride[0] + phase.origin[0]) * c.out[1] +
                                                h * c.stride[1] + phase.origin[1];
                       T* const to = plane + row * c.out[2] + phase.origin[2];
                       for (std::int64_t w = 0; w < n[2]; ++w) to[w * c.stride[2]] = from[w];
                     }
                   }
                 }
               });
}

}  // namespace

void TransposedConv::plan() {
  std::array<std::vector<AxisPhase>, 3> axes;
  for (std::size_t i = 0; i < 3; ++i)
    axes[i] = axis_phases(out[i], kernel[i], stride[i], dilation[i], before[i]);
  const std::int64_t taps = volume(kernel);
  for (const AxisPhase& d : axes[0]) {
    for (const AxisPhase& h : axes[1]) {
      for (const AxisPhase& w : axes[2]) {
        Phase phase;
        phase.origin = {d.origin, h.origin, w.origin};
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
  if (phases.size() == 1) return 0;
  std::size_t most = 0;
  for (const Phase& phase : phases) {
    const std::int64_t count = batch * groups * out_channels * volume(phase.conv.out);
    most = std::max(most, static_cast<std::size_t>(count) * dtype_size(dtype));
  }
  return (most + 63) / 64 * 64;
}

std::size_t TransposedConv::work_bytes(int slots) const {
  std::size_t most = 0;
  for (const Phase& phase : phases) most = std::max(most, run_taps_bytes(phase.conv, slots));
  return most;
}

void TransposedConv::run(DType dtype, const std::byte* x, DType weight_dtype,
                         const std::byte* weight, const float* bias, DType out_dtype, std::byte* y,
                         std::byte* packed, std::byte* dense, const Following& following,
                         const Workspace& ws) const {
  for (const Phase& phase : phases) {
    TapWeights weights{weight_dtype, phase.owned.view().data};
    if (weights.data == nullptr) {
      weights.data = packed;
      pack_taps(phase.conv, phase.layout, weight, weights);
    }
    const bool direct = phases.size() == 1;
    run_taps(phase.conv, weights, bias, dtype, x, out_dtype, direct ? y : dense, following, ws);
    if (direct) continue;
    dispatch_float(out_dtype, [&]<class T>() {
      scatter(*this, phase, reinterpret_cast<const T*>(dense), reinterpret_cast<T*>(y));
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
  const Scratch work = site.scratch(conv->work_bytes(slots));
  return [=, following = site.following(),
          c = std::shared_ptr<const TransposedConv>(std::move(conv))](const Exec& e) {
    c->run(x.dtype, e.in<std::byte>(x), weight.dtype, e.in<std::byte>(weight), bias.get(e), y.dtype,
           e.out<std::byte>(y), e.scratch<std::byte>(packed), e.scratch<std::byte>(dense),
           *following, {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace milane::host

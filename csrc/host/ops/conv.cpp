// conv: depthwise by windows over one plane, everything else as packed weights times taps.
#include <algorithm>

#include "host/ops/bf16_product.h"
#include "host/ops/operands.h"
#include "host/ops/window.h"

namespace milane::host {
namespace {

struct ConvArgs {
  Operand x, weight, bias, y;
  std::int64_t groups = 1;
  Spatial in, out, kernel, stride, dilation, before;
};

ConvArgs parse(OpSite& site) {
  ConvArgs a{site.in("x"),
             site.in("weight"),
             site.in("bias"),
             site.out(),
             site.args.integer("groups"),
             {},
             {},
             {},
             {},
             {},
             {}};
  require_float(site, {a.x, a.weight, a.bias});
  const std::size_t n = a.x.dims.size() - 2;
  a.in = spatial_of(a.x.dims);
  a.out = spatial_of(a.y.dims);
  a.kernel = spatial_of(a.weight.dims);
  a.stride = spatial_list(site.args.integers_or("strides", n, 1), 1);
  a.dilation = spatial_list(site.args.integers_or("dilations", n, 1), 1);
  const auto pad = site.args.integers_or("pad", 2 * n, 0);
  const std::string& type = site.args.text("pad_type");
  a.before = {0, 0, 0};
  for (std::size_t i = 3 - n; i < 3; ++i) {
    const std::int64_t custom = pad[2 * (i + n - 3)];
    a.before[i] = padding_before(type, custom, a.in[i], a.out[i],
                                 (a.kernel[i] - 1) * a.dilation[i] + 1, a.stride[i]);
  }
  return a;
}

bool is_pointwise(const TapConv& c) {
  return c.taps.size() == 1 && c.taps[0] == Spatial{0, 0, 0} && c.in == c.out &&
         volume(c.step) == 1;
}

TapConv tap_conv(const ConvArgs& a) {
  TapConv c;
  c.batch = a.x.dims[0];
  c.groups = a.groups;
  c.in_channels = a.x.dims[1] / a.groups;
  c.out_channels = a.y.dims[1] / a.groups;
  c.in = a.in;
  c.out = a.out;
  c.step = a.stride;
  for (std::int64_t d = 0; d < a.kernel[0]; ++d) {
    for (std::int64_t h = 0; h < a.kernel[1]; ++h) {
      for (std::int64_t w = 0; w < a.kernel[2]; ++w) {
        c.taps.push_back({d * a.dilation[0] - a.before[0], h * a.dilation[1] - a.before[1],
                          w * a.dilation[2] - a.before[2]});
      }
    }
  }
  // A pointwise kernel does not see rows: one long row packs faster.
  if (is_pointwise(c)) {
    c.in = c.out = {1, 1, volume(c.in)};
  }
  return c;
}

RunFn depthwise(OpSite& site, const ConvArgs& a) {
  const DepthwiseConv conv(Window(a.in, a.out, a.kernel, a.stride, a.dilation, a.before),
                           a.x.dims[0], a.groups, a.y.dims[1] / a.groups);
  const FloatValues weight(site, a.weight), bias(site, a.bias);
  const int slots = num_threads();
  const Scratch work = site.scratch(static_cast<std::size_t>(slots) * conv.slot_bytes());
  return [=, following = site.following()](const Exec& e) {
    conv.run(a.x.dtype, e.in<std::byte>(a.x), weight.get(e), bias.get(e), a.y.dtype,
             e.out<std::byte>(a.y), *following, {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace

RunFn op_conv(OpSite& site) {
  const ConvArgs a = parse(site);
  if (a.groups > 1 && a.groups == a.x.dims[1]) return depthwise(site, a);

  const TapConv conv = tap_conv(a);
  if (is_pointwise(conv) && conv.groups == 1) {
    const std::int64_t n = volume(conv.out);
    const Bf16Product product{
        a.weight,   a.x, conv.out_channels, conv.in_channels, n, conv.in_channels, 1, 1, n,
        conv.batch, true};
    if (auto run = bf16_product(site, product, a.bias)) return run;
  }
  const std::int64_t taps = static_cast<std::int64_t>(conv.taps.size());
  WeightLayout layout{
      conv.out_channels * conv.in_channels * taps, conv.in_channels * taps, taps, {}};
  for (std::int64_t t = 0; t < taps; ++t) layout.taps.push_back(t);
  PackedMatrix owned;
  Scratch packed;
  if (a.weight.is_constant()) {
    owned =
        pack_constant(site, a.weight, packed_taps(conv, a.weight.dtype), [&](const PackedView& to) {
          pack_taps(conv, layout, a.weight.constant, {to.dtype, to.data});
        });
  } else {
    packed = site.scratch(tap_weight_bytes(conv, a.weight.dtype));
  }
  const FloatValues bias(site, a.bias);
  const int slots = num_threads();
  const Scratch work = site.scratch(run_taps_bytes(conv, slots));
  return [=, following = site.following()](const Exec& e) {
    TapWeights weights{a.weight.dtype, owned.view().data};
    if (weights.data == nullptr) {
      weights.data = e.scratch<std::byte>(packed);
      pack_taps(conv, layout, e.in<std::byte>(a.weight), weights);
    }
    run_taps(conv, weights, bias.get(e), a.x.dtype, e.in<std::byte>(a.x), a.y.dtype,
             e.out<std::byte>(a.y), *following, {e.scratch<std::byte>(work), slots});
  };
}

}  // namespace milane::host

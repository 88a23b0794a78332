// Convolution and pooling: [batch, channels, spatial...] with one to three spatial dimensions.
#include <algorithm>

#include "mil/rules.h"

namespace milane::mil {
namespace {

using Sizes = Dims;

Sizes sizes(const OpArgs& args, std::string_view name, std::size_t n, std::int64_t otherwise,
            std::int64_t least) {
  check_list(args, name, n);
  auto all = args.integers_or(name, n, otherwise);
  for (const auto size : all) {
    if (size < least) {
      args.fail(name, "expected " + std::string(name) + " of at least " + std::to_string(least) +
                          ", got " + std::to_string(size));
    }
  }
  if (all.size() != n) {
    args.fail(name, "expected " + std::to_string(n) + " values in " + std::string(name) + ", got " +
                        std::to_string(all.size()));
  }
  return all;
}

const std::string& pad_type(const OpArgs& args) {
  return choice(args, "pad_type", {"valid", "same", "same_lower", "custom"});
}

// Before and after for every spatial dimension; `pad` counts only where pad_type is custom.
Sizes custom_pad(const OpArgs& args, std::size_t n, bool custom) {
  if (!custom) return Sizes(2 * n, 0);
  return sizes(args, "pad", 2 * n, 0, 0);
}

struct Window {
  Sizes kernel, strides, dilations, pad;
  bool same = false, ceil = false;
};

// With ceil_mode the last window may begin in the input or the padding before it, never after
// (ops_by_opset.json, avg_pool).
std::int64_t window_count(std::int64_t in, const Window& w, std::size_t i) {
  if (in < 0) return kUnknownDim;
  const auto stride = w.strides[i];
  if (w.same) return (in + stride - 1) / stride;
  const auto before = w.pad[2 * i], after = w.pad[2 * i + 1];
  const auto span = in + before + after - ((w.kernel[i] - 1) * w.dilations[i] + 1);
  if (span < 0) return 0;
  if (!w.ceil) return span / stride + 1;
  auto count = (span + stride - 1) / stride + 1;
  if ((count - 1) * stride >= in + before && before + after > 0) --count;
  return count;
}

void append_windows(const OpArgs& args, const Dims& x, const Window& w, Dims* out) {
  for (std::size_t i = 0; i < w.kernel.size(); ++i) {
    const auto count = window_count(x[i + 2], w, i);
    if (count == 0) {
      args.fail("x", "expected x at least as large as the kernel, got " + to_string(x) +
                         " and kernel size " + std::to_string(w.kernel[i]) + " along axis " +
                         std::to_string(i + 2));
    }
    out->push_back(count);
  }
}

void check_bias(const OpArgs& args, std::int64_t channels) {
  if (args.has("bias")) check_shape(args, "bias", {channels});
}

void check_divisible(const OpArgs& args, std::string_view name, std::int64_t channels,
                     std::int64_t groups) {
  if (channels >= 0 && channels % groups != 0) {
    args.fail(name, "expected channels divisible by groups, got " + std::to_string(channels) +
                        " and " + std::to_string(groups));
  }
}

// The kernel's sizes; unknown only where the weight's shape is.
bool kernel_of(const Dims& weight, Sizes* kernel) {
  kernel->assign(weight.begin() + 2, weight.end());
  return is_static(*kernel);
}

Dims unknown_spatial(std::int64_t batch, std::int64_t channels, std::size_t n) {
  Dims out{batch, channels};
  out.resize(n + 2, kUnknownDim);
  return out;
}

}  // namespace

Types rule_conv(const OpArgs& args) {
  check_rank(args, "x", 3, 5);
  const auto &x = args.dims("x"), &weight = args.dims("weight");
  check_rank(args, "weight", x.size(), x.size());  // [out, in / groups, kernel...]
  const auto n = x.size() - 2;
  const auto groups = positive(args, "groups");
  check_divisible(args, "x", x[1], groups);
  check_divisible(args, "weight", weight[0], groups);
  if (x[1] >= 0 && !dims_agree(weight[1], x[1] / groups)) {
    args.fail("weight", "expected weight for " + std::to_string(x[1] / groups) +
                            " input channels per group, got " + std::to_string(weight[1]));
  }
  check_bias(args, weight[0]);
  const auto& type = pad_type(args);
  Window w;
  w.same = type.starts_with("same");
  w.strides = sizes(args, "strides", n, 1, 1);
  w.dilations = sizes(args, "dilations", n, 1, 1);
  w.pad = custom_pad(args, n, type == "custom");
  Dims out{x[0], weight[0]};
  if (!kernel_of(weight, &w.kernel)) {
    return tensor_of(args.type("x").dtype, unknown_spatial(x[0], weight[0], n));
  }
  append_windows(args, x, w, &out);
  return tensor_of(args.type("x").dtype, std::move(out));
}

Types rule_conv_transpose(const OpArgs& args) {
  check_rank(args, "x", 3, 5);
  const auto &x = args.dims("x"), &weight = args.dims("weight");
  check_rank(args, "weight", x.size(), x.size());  // [in, out / groups, kernel...]
  const auto n = x.size() - 2;
  const auto groups = positive(args, "groups");
  check_divisible(args, "x", x[1], groups);
  if (!dims_agree(x[1], weight[0])) {
    args.fail("weight", "expected weight for " + std::to_string(x[1]) + " input channels, got " +
                            std::to_string(weight[0]));
  }
  const auto channels = dim_product(weight[1], groups);
  check_bias(args, channels);
  const auto& type = pad_type(args);
  const auto strides = sizes(args, "strides", n, 1, 1);
  const auto dilations = sizes(args, "dilations", n, 1, 1);
  const auto pad = custom_pad(args, n, type == "custom");
  Dims out{x[0], channels};
  for (std::size_t i = 0; i < n; ++i) {
    const auto in = x[i + 2], kernel = weight[i + 2];
    if (type.starts_with("same")) {
      out.push_back(dim_product(in, strides[i]));
    } else if (in < 0 || kernel < 0) {
      out.push_back(kUnknownDim);
    } else {
      out.push_back(strides[i] * (in - 1) + (kernel - 1) * dilations[i] + 1 - pad[2 * i] -
                    pad[2 * i + 1]);
    }
  }
  if (args.has("output_shape")) {  // chooses among the shapes whose convolution gives x
    check_list(args, "output_shape", n + 2);
    const auto wanted = args.integers("output_shape");
    if (!dims_agree(wanted[0], out[0]) || !dims_agree(wanted[1], out[1])) {
      args.fail("output_shape", "expected output_shape to begin with " +
                                    to_string(Dims{out[0], out[1]}) + ", got " + to_string(wanted));
    }
    out = wanted;
  }
  for (std::size_t i = 2; i < out.size(); ++i) {
    if (out[i] != kUnknownDim && out[i] <= 0) {
      args.fail("pad", "expected less padding than output, got shape " + to_string(out));
    }
  }
  return tensor_of(args.type("x").dtype, std::move(out));
}

Types rule_pool(const OpArgs& args) {
  check_rank(args, "x", 3, 5);
  const auto& x = args.dims("x");
  const auto n = x.size() - 2;
  const auto& type = pad_type(args);
  Window w;
  w.kernel = sizes(args, "kernel_sizes", n, 1, 1);
  w.strides = sizes(args, "strides", n, 1, 1);
  w.dilations = Sizes(n, 1);
  w.pad = custom_pad(args, n, type == "custom");
  w.same = type.starts_with("same");
  w.ceil = args.boolean("ceil_mode");
  if (w.ceil && w.same) {
    args.fail("ceil_mode", "expected ceil_mode false with pad_type " + type + ", got true");
  }
  for (std::size_t i = 0; w.ceil && i < n; ++i) {
    if (w.pad[2 * i] != w.pad[2 * i + 1]) {
      args.fail("pad",
                "expected equal padding on both sides with ceil_mode, got " + to_string(w.pad));
    }
  }
  Dims out{x[0], x[1]};
  append_windows(args, x, w, &out);
  return tensor_of(args.type("x").dtype, std::move(out));
}

}  // namespace milane::mil

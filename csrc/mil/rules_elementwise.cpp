// Elementwise operations, activations, casts and run-time quantisation.
#include "mil/rules.h"

namespace milane::mil {
namespace {

Dims broadcast(const OpArgs& args, std::string_view first, const Dims& a, std::string_view second) {
  Dims out;
  const auto& b = args.dims(second);
  if (!broadcast_dims(a, b, &out)) {
    args.fail(second, "expected " + std::string(second) + " to broadcast with " +
                          std::string(first) + " " + to_string(a) + ", got " + to_string(b));
  }
  return out;
}

// Scale and zero point: one for all, or one per slice of `axis`.
void check_quantisation(const OpArgs& args) {
  const auto& x = args.dims("input");
  const auto& scale = args.dims("scale");
  if (args.has("zero_point")) check_shape(args, "zero_point", scale);
  if (scale.empty()) return;
  check_rank(args, "scale", 0, 1);
  if (!args.has("axis")) args.fail("scale", "expected an argument `axis` with a list of scales");
  const auto axis = static_cast<std::size_t>(args.axis("axis", x.size()));
  check_shape(args, "scale", {x[axis]});
}

}  // namespace

Types rule_same_as_x(const OpArgs& args) {
  const auto& x = args.type("x");
  for (const auto name : {"alpha", "beta", "epsilon"}) {
    if (args.has(name)) check_list(args, name, 1);
  }
  if (args.has("mode")) {  // gelu
    choice(args, "mode", {"EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"});
  }
  return {x};
}

Types rule_channel_parameters(const OpArgs& args) {
  check_rank(args, "x", 3);  // [batch, channels, ...]
  for (const auto name : {"alpha", "beta"}) {
    if (!args.has(name)) continue;
    check_rank(args, name, 1, 1);
    check_shape(args, name, {args.dims("x")[1]});
  }
  return {args.type("x")};
}

Types rule_broadcast(const OpArgs& args) {
  return tensor_of(args.type("x").dtype, broadcast(args, "x", args.dims("x"), "y"));
}

Types rule_compare(const OpArgs& args) {
  const auto& x = args.dims("x");
  return tensor_of(DType::kBool, args.has("y") ? broadcast(args, "x", x, "y") : x);
}

Types rule_select(const OpArgs& args) {
  const auto branches = broadcast(args, "a", args.dims("a"), "b");
  Dims out;
  if (!broadcast_dims(branches, args.dims("cond"), &out)) {
    args.fail("cond", "expected cond to broadcast with a and b " + to_string(branches) + ", got " +
                          to_string(args.dims("cond")));
  }
  return tensor_of(args.type("a").dtype, std::move(out));
}

Types rule_cast(const OpArgs& args) {
  const auto dtype = named_dtype(args, "dtype",
                                 {DType::kFp16, DType::kFp32, DType::kInt8, DType::kInt16,
                                  DType::kInt32, DType::kUInt8, DType::kUInt16, DType::kBool});
  return tensor_of(dtype, args.dims("x"));
}

Types rule_quantize(const OpArgs& args) {
  check_quantisation(args);
  const auto dtype = named_dtype(args, "output_dtype", {DType::kInt8, DType::kUInt8});
  if (args.has("zero_point") && args.type("zero_point").dtype != dtype) {
    args.fail("zero_point", "expected zero_point to be " + std::string(dtype_name(dtype)) +
                                " like output_dtype, got " +
                                std::string(dtype_name(args.type("zero_point").dtype)));
  }
  return tensor_of(dtype, args.dims("input"));
}

Types rule_dequantize(const OpArgs& args) {
  check_quantisation(args);
  return tensor_of(args.type("scale").dtype, args.dims("input"));
}

}  // namespace milane::mil

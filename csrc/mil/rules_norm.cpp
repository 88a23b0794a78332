// Normalisation: the shape stays, the parameters must fit it.
#include "mil/rules.h"

namespace milane::mil {
namespace {

// gamma, beta and the like: one value per channel (axis 1).
void check_per_channel(const OpArgs& args, std::initializer_list<std::string_view> names) {
  const auto channels = args.dims("x")[1];
  for (const auto name : names) {
    if (args.has(name)) check_shape(args, name, {channels});
  }
}

}  // namespace

Types rule_batch_norm(const OpArgs& args) {
  check_rank(args, "x", 3, 5);
  check_per_channel(args, {"mean", "variance", "gamma", "beta"});
  return {args.type("x")};
}

Types rule_instance_norm(const OpArgs& args) {
  check_rank(args, "x", 3, 4);
  check_per_channel(args, {"gamma", "beta"});
  return {args.type("x")};
}

Types rule_l2_norm(const OpArgs& args) {
  check_rank(args, "x", 3);  // over the last three axes
  return {args.type("x")};
}

Types rule_layer_norm(const OpArgs& args) {
  const auto& x = args.type("x");
  Dims normalised = x.dims;
  if (args.has("axes")) {
    normalised.clear();
    for (const auto axis : args.axes("axes", x.dims.size())) {
      normalised.push_back(x.dims[static_cast<std::size_t>(axis)]);
    }
  }
  for (const auto name : {"gamma", "beta"}) {
    if (args.has(name)) check_shape(args, name, normalised);
  }
  return {x};
}

Types rule_local_response_norm(const OpArgs& args) {
  check_rank(args, "x", 3, 5);
  positive(args, "size");
  return {args.type("x")};
}

}  // namespace milane::mil

// Softmax, reductions, scans and sorting: whatever works along axes.
#include <algorithm>

#include "mil/rules.h"

namespace milane::mil {
namespace {

Dims reduced(const Dims& dims, const Dims& axes, bool keep_dims) {
  Dims out;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const bool gone =
        std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    if (!gone) out.push_back(dims[i]);
    if (gone && keep_dims) out.push_back(1);
  }
  return out;
}

}  // namespace

Types rule_softmax(const OpArgs& args) {
  args.axis("axis", args.dims("x").size());
  return {args.type("x")};
}

Types rule_reduce(const OpArgs& args) {
  const auto& x = args.type("x");
  Dims axes;
  if (args.has("axes")) {
    axes = args.axes("axes", x.dims.size());
  } else {
    for (std::size_t i = 0; i < x.dims.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  return tensor_of(x.dtype, reduced(x.dims, axes, args.boolean("keep_dims")));
}

Types rule_reduce_arg(const OpArgs& args) {
  const auto& dims = args.dims("x");
  const auto dtype = named_dtype(args, "output_dtype", {DType::kInt32, DType::kUInt16});
  const auto axis = args.axis("axis", dims.size());
  return tensor_of(dtype, reduced(dims, {axis}, args.boolean("keep_dims")));
}

Types rule_cumsum(const OpArgs& args) {
  args.axis("axis", args.dims("x").size());
  return {args.type("x")};
}

Types rule_argsort(const OpArgs& args) {
  args.axis("axis", args.dims("x").size());
  return tensor_of(DType::kInt32, args.dims("x"));
}

// ios16 brought return_indices, ios17 the type of the indices.
Types rule_topk(const OpArgs& args) {
  auto values = args.type("x");
  const auto axis = static_cast<std::size_t>(args.axis("axis", values.dims.size()));
  const auto k = args.integer("k");
  const auto size = values.dims[axis];
  if (k < -1 || k == 0 || (size >= 0 && k > size)) {
    const auto limit = size >= 0 ? "at most " + std::to_string(size) : "positive";
    args.fail("k", "expected k to be " + limit + ", got " + std::to_string(k));
  }
  if (k > 0) values.dims[axis] = k;
  if (!args.boolean("return_indices")) return {values};
  const auto dtype =
      named_dtype(args, "output_indices_dtype",
                  {DType::kInt32, DType::kUInt16, DType::kInt16, DType::kInt8, DType::kUInt8});
  return {values, Type::tensor(dtype, values.dims)};
}

Types rule_non_zero(const OpArgs& args) {
  const auto rank = static_cast<std::int64_t>(args.dims("x").size());
  return tensor_of(DType::kInt32, {kUnknownDim, rank});
}

}  // namespace milane::mil

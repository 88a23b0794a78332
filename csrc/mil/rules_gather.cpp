// Gather, scatter and one_hot.
#include "mil/rules.h"

namespace milane::mil {
namespace {

Dims joined(const Dims& a, std::size_t a_first, std::size_t a_last, const Dims& b,
            std::size_t b_first) {
  Dims out(a.begin() + static_cast<std::ptrdiff_t>(a_first),
           a.begin() + static_cast<std::ptrdiff_t>(a_last));
  out.insert(out.end(), b.begin() + static_cast<std::ptrdiff_t>(b_first), b.end());
  return out;
}

void check_mode(const OpArgs& args) {
  choice(args, "mode", {"add", "div", "max", "min", "mul", "sub", "update"});
}

std::size_t batch_dims(const OpArgs& args, const Dims& x, const Dims& indices) {
  const auto batch = args.integer("batch_dims");
  if (batch < 0 || batch >= static_cast<std::int64_t>(x.size()) ||
      batch > static_cast<std::int64_t>(indices.size())) {
    args.fail("batch_dims",
              "expected batch_dims of at least 0, below the rank of x and at most "
              "that of indices, got " +
                  std::to_string(batch));
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch); ++i) {
    if (!dims_agree(x[i], indices[i])) {
      args.fail("indices", "expected indices and x to agree in the first " + std::to_string(batch) +
                               " dimensions, got " + to_string(indices) + " and " + to_string(x));
    }
  }
  return static_cast<std::size_t>(batch);
}

// The last dimension of gather_nd's indices: how many axes one index names.
std::size_t index_depth(const OpArgs& args, const Dims& indices, std::size_t available) {
  if (indices.empty()) args.fail("indices", "expected indices of rank 1 or more, got a scalar");
  if (indices.back() < 0) throw ValueNotAtHand{};
  const auto depth = static_cast<std::size_t>(indices.back());
  if (depth > available) {
    args.fail("indices", "expected at most " + std::to_string(available) +
                             " values per index, got " + std::to_string(depth));
  }
  return depth;
}

// Indices have the other tensor's shape except along the axis.
void check_along_axis(const OpArgs& args, std::string_view name, const Dims& other) {
  check_rank(args, name, other.size(), other.size());
  auto expected = other;
  expected[static_cast<std::size_t>(args.axis("axis", other.size()))] = kUnknownDim;
  check_shape(args, name, expected);
}

}  // namespace

Types rule_gather(const OpArgs& args) {
  const auto &x = args.dims("x"), &indices = args.dims("indices");
  const auto axis = static_cast<std::size_t>(args.axis("axis", x.size()));
  const auto batch = batch_dims(args, x, indices);
  if (batch > axis) {
    args.fail("batch_dims", "expected batch_dims of at most the axis " + std::to_string(axis) +
                                ", got " + std::to_string(batch));
  }
  auto out = joined(x, 0, axis, indices, batch);
  out.insert(out.end(), x.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.end());
  return tensor_of(args.type("x").dtype, std::move(out));
}

Types rule_gather_along_axis(const OpArgs& args) {
  check_along_axis(args, "indices", args.dims("x"));
  return tensor_of(args.type("x").dtype, args.dims("indices"));
}

Types rule_gather_nd(const OpArgs& args) {
  const auto &x = args.dims("x"), &indices = args.dims("indices");
  if (x.empty()) args.fail("x", "expected x of rank 1 or more, got a scalar");
  const auto batch = batch_dims(args, x, indices);
  const auto depth = index_depth(args, indices, x.size() - batch);
  return tensor_of(args.type("x").dtype, joined(indices, 0, indices.size() - 1, x, batch + depth));
}

Types rule_scatter(const OpArgs& args) {
  const auto &data = args.dims("data"), &indices = args.dims("indices");
  check_mode(args);
  const auto axis = static_cast<std::size_t>(args.axis("axis", data.size()));
  auto updates = joined(data, 0, axis, indices, 0);
  updates.insert(updates.end(), data.begin() + static_cast<std::ptrdiff_t>(axis) + 1, data.end());
  check_shape(args, "updates", updates);
  return {args.type("data")};
}

Types rule_scatter_along_axis(const OpArgs& args) {
  check_mode(args);
  check_along_axis(args, "indices", args.dims("data"));
  check_shape(args, "updates", args.dims("indices"));
  return {args.type("data")};
}

Types rule_scatter_nd(const OpArgs& args) {
  const auto &data = args.dims("data"), &indices = args.dims("indices");
  check_mode(args);
  const auto depth = index_depth(args, indices, data.size());
  check_shape(args, "updates", joined(indices, 0, indices.size() - 1, data, depth));
  return {args.type("data")};
}

Types rule_one_hot(const OpArgs& args) {
  auto out = args.dims("indices");
  const auto axis = args.axis("axis", out.size() + 1);
  auto size = kUnknownDim;
  if (args.known("one_hot_vector_size")) size = positive(args, "one_hot_vector_size");
  out.insert(out.begin() + axis, size);
  auto dtype = DType::kInt32;
  for (const auto name : {"on_value", "off_value"}) {
    if (args.has(name)) dtype = args.type(name).dtype;
  }
  return tensor_of(dtype, std::move(out));
}

}  // namespace milane::mil

// Data movement: whole axes joined, cut, repeated, reversed or permuted.
#include <algorithm>
#include <numeric>

#include "mil/rules.h"

namespace milane::mil {

Types rule_transpose(const OpArgs& args) {
  const auto& x = args.type("x");
  check_list(args, "perm", x.dims.size());
  Dims out;
  for (const auto axis : args.axes("perm", x.dims.size())) {
    out.push_back(x.dims[static_cast<std::size_t>(axis)]);
  }
  return tensor_of(x.dtype, std::move(out));
}

Types rule_reverse(const OpArgs& args) {
  if (args.has("axes")) args.axes("axes", args.dims("x").size());
  return {args.type("x")};
}

Types rule_reverse_sequence(const OpArgs& args) {
  const auto& x = args.dims("x");
  args.axis("seq_axis", x.size());
  const auto batch = static_cast<std::size_t>(args.axis("batch_axis", x.size()));
  check_shape(args, "lengths", {x[batch]});
  return {args.type("x")};
}

Types rule_tile(const OpArgs& args) {
  auto out = args.type("x");
  check_list(args, "reps", out.dims.size());
  if (!args.known("reps")) {
    std::fill(out.dims.begin(), out.dims.end(), kUnknownDim);
    return {out};
  }
  const auto reps = args.integers("reps");
  for (std::size_t i = 0; i < out.dims.size(); ++i) {
    if (reps[i] <= 0) {
      args.fail("reps", "expected positive reps, got " + std::to_string(reps[i]));
    }
    out.dims[i] = dim_product(out.dims[i], reps[i]);
  }
  return {out};
}

Types rule_concat(const OpArgs& args) {
  const auto values = args.list("values");
  auto out = values.front().type;
  const auto rank = out.dims.size();
  if (rank == 0) return tensor_of(out.dtype, {static_cast<std::int64_t>(values.size())});
  const auto axis = static_cast<std::size_t>(args.axis("axis", rank));
  const bool interleave = args.boolean("interleave");
  std::int64_t total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& dims = values[i].type.dims;
    if (dims.size() != rank) {
      args.fail("values",
                "expected values of rank " + std::to_string(rank) + ", got " + to_string(dims), {},
                i);
    }
    for (std::size_t d = 0; d < rank; ++d) {
      if (d == axis && !interleave) continue;
      if (!dims_agree(out.dims[d], dims[d])) {
        args.fail("values",
                  "expected size " + std::to_string(out.dims[d]) + " along axis " +
                      std::to_string(d) + ", got " + to_string(dims),
                  {}, i);
      }
      if (out.dims[d] < 0) out.dims[d] = dims[d];
    }
    total = dim_sum(total, dims[axis]);
  }
  if (interleave) total = dim_product(out.dims[axis], static_cast<std::int64_t>(values.size()));
  out.dims[axis] = total;
  return {out};
}

Types rule_stack(const OpArgs& args) {
  const auto values = args.list("values");
  auto out = values.front().type;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const auto& dims = values[i].type.dims;
    if (!shapes_agree(out.dims, dims)) {
      args.fail("values",
                "expected values of shape " + to_string(out.dims) + ", got " + to_string(dims), {},
                i);
    }
    out.dims = merge_dims(out.dims, dims);
  }
  const auto axis = args.axis("axis", out.dims.size() + 1);
  out.dims.insert(out.dims.begin() + axis, static_cast<std::int64_t>(values.size()));
  return {out};
}

Types rule_split(const OpArgs& args) {
  const auto& x = args.type("x");
  const auto axis = static_cast<std::size_t>(args.axis("axis", x.dims.size()));
  const auto size = x.dims[axis];
  Dims sizes;
  if (args.has("split_sizes")) {
    sizes = args.integers("split_sizes");
    const auto sum = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    if (!dims_agree(size, sum)) {
      args.fail("split_sizes", "expected sizes that add up to " + std::to_string(size) + ", got " +
                                   to_string(sizes));
    }
  } else if (args.has("num_splits")) {
    const auto n = positive(args, "num_splits");
    if (size >= 0 && size % n != 0) {
      args.fail("num_splits", "expected num_splits to divide " + std::to_string(size) + ", got " +
                                  std::to_string(n));
    }
    // Before anything of that size is made.
    const auto results = args.operation().outputs.size();
    if (results > 0 && n != static_cast<std::int64_t>(results)) {
      args.fail("num_splits", "expected num_splits " + std::to_string(results) +
                                  " like the number of results, got " + std::to_string(n));
    }
    sizes.assign(static_cast<std::size_t>(n), size < 0 ? kUnknownDim : size / n);
  } else {
    args.fail("x", "expected an argument `num_splits` or `split_sizes`, got neither");
  }
  Types out(sizes.size(), x);
  for (std::size_t i = 0; i < out.size(); ++i) out[i].dims[axis] = sizes[i];
  return out;
}

// Pairs of before and after for the last axes.
Types rule_pad(const OpArgs& args) {
  auto out = args.type("x");
  const auto& mode = choice(args, "mode", {"constant", "reflect", "replicate"});
  check_rank(args, "pad", 1, 1);
  const auto entries = args.dims("pad")[0];
  const auto rank = out.dims.size();
  if (entries % 2 != 0 || entries > 2 * static_cast<std::int64_t>(rank)) {
    if (entries >= 0) {
      args.fail("pad", "expected two values for each of at most " + std::to_string(rank) +
                           " axes, got " + std::to_string(entries));
    }
    throw ValueNotAtHand{};
  }
  const auto padded = static_cast<std::size_t>(entries / 2), first = rank - padded;
  if (!args.known("pad")) {
    std::fill(out.dims.begin() + static_cast<std::ptrdiff_t>(first), out.dims.end(), kUnknownDim);
    return {out};
  }
  const auto pad = args.integers("pad");
  for (std::size_t i = 0; i < padded; ++i) {
    const auto before = pad[2 * i], after = pad[2 * i + 1];
    auto& size = out.dims[first + i];
    if (before < 0 || after < 0) {
      args.fail("pad", "expected padding of 0 or more, got " + to_string(pad));
    }
    if (mode == "reflect" && size >= 0 && std::max(before, after) >= size) {
      args.fail("pad", "expected less reflected padding than the size " + std::to_string(size) +
                           " of axis " + std::to_string(first + i) + ", got " + to_string(pad));
    }
    if (size >= 0) size += before + after;
  }
  return {out};
}

Types rule_crop(const OpArgs& args) {
  auto out = args.type("x");
  check_rank(args, "x", 3, 5);
  std::size_t axis = out.dims.size() - 2;
  for (const auto name : {"crop_height", "crop_width"}) {
    check_list(args, name, 2);
    const auto crop = args.integers(name);
    auto& size = out.dims[axis++];
    const auto left = size - crop[0] - crop[1];
    if (crop[0] < 0 || crop[1] < 0 || (size >= 0 && left <= 0)) {
      args.fail(name,
                "expected to crop less than " + std::to_string(size) + ", got " + to_string(crop));
    }
    if (size >= 0) size = left;
  }
  return {out};
}

Types rule_band_part(const OpArgs& args) {
  check_rank(args, "x", 2);
  return {args.type("x")};
}

// [..., n, ...] gives [..., windows, size, ...].
Types rule_sliding_windows(const OpArgs& args) {
  auto out = args.type("x");
  const auto axis = static_cast<std::size_t>(args.axis("axis", out.dims.size()));
  const auto size = positive(args, "size"), stride = positive(args, "stride");
  auto& n = out.dims[axis];
  if (n >= 0 && n < size) {
    args.fail("size",
              "expected a size of at most " + std::to_string(n) + ", got " + std::to_string(size));
  }
  if (n >= 0) n = (n - size) / stride + 1;
  out.dims.insert(out.dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1, size);
  return {out};
}

}  // namespace milane::mil

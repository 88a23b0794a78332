// Other shapes for the same elements, and new tensors whose shape a value gives.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "mil/rules.h"

namespace milane::mil {
namespace {

std::int64_t count_between(const Dims& dims, std::size_t first, std::size_t last) {
  std::int64_t n = 1;
  for (auto i = first; i < last; ++i) n = dim_product(n, dims[i]);
  return n;
}

std::int64_t count(const Dims& dims) { return count_between(dims, 0, dims.size()); }

// A shape of which only its length is known.
Types unknown_shape(const OpArgs& args, std::string_view shape, DType dtype) {
  const auto& dims = args.dims(shape);
  check_rank(args, shape, 1, 1);
  if (dims[0] < 0) throw ValueNotAtHand{};
  if (dims[0] > 16) {
    args.fail(shape, "expected a shape of at most 16 sizes, got " + std::to_string(dims[0]));
  }
  return tensor_of(dtype, Dims(static_cast<std::size_t>(dims[0]), kUnknownDim));
}

// 0 keeps the dimension of x counted from the right, or is 1 beyond its rank (ios17; for equal
// ranks the same as ios15); one -1 takes what is left.
Dims reshaped(const OpArgs& args, const Dims& x, const Dims& shape) {
  Dims out = shape;
  std::size_t free = out.size();
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 0) {
      const std::size_t from_right = out.size() - i;
      out[i] = from_right <= x.size() ? x[x.size() - from_right] : 1;
    } else if (out[i] == -1) {
      if (free != out.size()) {
        args.fail("shape", "expected at most one -1 in shape, got two");
      }
      free = i;
    } else if (out[i] < -1) {
      args.fail("shape",
                "expected shape of -1, 0 or positive sizes, got " + std::to_string(out[i]));
    }
  }
  if (free == out.size()) return out;
  out[free] = 1;
  const auto all = count(x), rest = count(out);
  out[free] = kUnknownDim;
  if (all >= 0 && rest > 0) {
    if (all % rest != 0) {
      args.fail("shape", "expected a shape that divides the " + std::to_string(all) +
                             " elements of x, got " + std::to_string(rest) + " without the -1");
    }
    out[free] = all / rest;
  }
  return out;
}

void check_count(const OpArgs& args, std::string_view name, const Dims& x, const Dims& out) {
  const auto before = count(x), after = count(out);
  if (dims_agree(before, after)) return;
  args.fail(name, "expected a shape of " + std::to_string(before) + " elements like x " +
                      to_string(x) + ", got " + to_string(out) + " with " + std::to_string(after));
}

}  // namespace

Types rule_identity(const OpArgs& args) { return {args.type("x")}; }

Types rule_reshape(const OpArgs& args) {
  const auto& x = args.type("x");
  if (!args.known("shape")) return unknown_shape(args, "shape", x.dtype);
  check_rank(args, "shape", 1, 1);
  auto out = reshaped(args, x.dims, args.integers("shape"));
  check_count(args, "shape", x.dims, out);
  return tensor_of(x.dtype, std::move(out));
}

// The pieces [begin, end) of the reference shapes, one after the other (ios16).
Types rule_reshape_like(const OpArgs& args) {
  const auto references = args.list("ref_tensors");
  const auto begins = args.list("begins"), ends = args.list("ends"), masks = args.list("end_masks");
  for (const auto name : {"begins", "ends", "end_masks"}) {
    if (args.list(name).size() != references.size()) {
      args.fail(name, "expected " + std::to_string(references.size()) + " values in " + name +
                          " like ref_tensors, got " + std::to_string(args.list(name).size()));
    }
  }
  for (const auto name : {"begins", "ends", "end_masks"}) {
    for (const auto& one : args.list(name)) {
      if (!one.type.is_scalar()) {
        args.fail(name,
                  "expected scalars in " + std::string(name) + ", got " + to_string(one.type));
      }
    }
  }
  Dims out;
  for (std::size_t i = 0; i < references.size(); ++i) {
    if (!begins[i].value || !ends[i].value || !masks[i].value) throw ValueNotAtHand{};
    const auto& dims = references[i].type.dims;
    const auto rank = static_cast<std::int64_t>(dims.size());
    const auto place = [rank](std::int64_t at) {
      return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
    };
    const auto begin = place(begins[i].value->integer());
    const auto end = masks[i].value->integer() ? rank : place(ends[i].value->integer());
    for (auto d = begin; d < end; ++d) out.push_back(dims[static_cast<std::size_t>(d)]);
  }
  check_count(args, "ref_tensors", args.dims("x"), out);
  return tensor_of(args.type("x").dtype, std::move(out));
}

Types rule_expand_dims(const OpArgs& args) {
  auto out = args.type("x");
  const auto added = args.integers("axes").size();
  auto axes = args.axes("axes", out.dims.size() + added);
  std::sort(axes.begin(), axes.end());
  for (const auto axis : axes) out.dims.insert(out.dims.begin() + axis, 1);
  return {out};
}

Types rule_squeeze(const OpArgs& args) {
  const auto& x = args.type("x");
  std::vector<bool> gone(x.dims.size(), false);
  if (args.has("axes")) {
    for (const auto axis : args.axes("axes", x.dims.size())) {
      // Axes of another size stay, as in PyTorch (ios15's documentation).
      gone[static_cast<std::size_t>(axis)] = dims_agree(x.dims[static_cast<std::size_t>(axis)], 1);
    }
  } else {  // unknown dimensions count as larger than 1
    for (std::size_t i = 0; i < gone.size(); ++i) gone[i] = x.dims[i] == 1;
  }
  Dims out;
  for (std::size_t i = 0; i < gone.size(); ++i) {
    if (!gone[i]) out.push_back(x.dims[i]);
  }
  return tensor_of(x.dtype, std::move(out));
}

Types rule_flatten2d(const OpArgs& args) {
  const auto& x = args.type("x");
  const auto rank = static_cast<std::int64_t>(x.dims.size());
  auto axis = args.integer("axis");
  if (axis < -rank || axis > rank) {  // the rank itself: everything before, nothing after
    args.fail("axis", "axis must be in [" + std::to_string(-rank) + ", " + std::to_string(rank) +
                          "], got " + std::to_string(axis));
  }
  const auto cut = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
  return tensor_of(x.dtype,
                   {count_between(x.dims, 0, cut), count_between(x.dims, cut, x.dims.size())});
}

Types rule_shape(const OpArgs& args) {
  return tensor_of(DType::kInt32, {static_cast<std::int64_t>(args.dims("x").size())});
}

Types rule_fill(const OpArgs& args) {
  const auto dtype = args.has("value") ? args.type("value").dtype : DType::kFp32;
  if (!args.known("shape")) return unknown_shape(args, "shape", dtype);
  auto dims = args.integers("shape");
  for (const auto d : dims) {
    if (d <= 0) args.fail("shape", "expected positive sizes, got " + std::to_string(d));
  }
  return tensor_of(dtype, std::move(dims));
}

Types rule_fill_like(const OpArgs& args) {
  const auto dtype = args.has("value") ? args.type("value").dtype : DType::kFp32;
  return tensor_of(dtype, args.dims("ref_tensor"));
}

Types rule_range_1d(const OpArgs& args) {
  const auto dtype = args.type("start").dtype;
  for (const auto name : {"start", "end", "step"}) check_list(args, name, 1);
  if (!args.known("start") || !args.known("end") || !args.known("step")) {
    return tensor_of(dtype, {kUnknownDim});
  }
  const auto step = args.number("step");
  if (step == 0) args.fail("step", "expected a step other than 0, got 0");
  const auto n = std::ceil((args.number("end") - args.number("start")) / step);
  if (!(n > 0 && n < 0x1p40)) {
    args.fail("end", "expected end beyond start in the direction of step, got an empty range");
  }
  return tensor_of(dtype, {static_cast<std::int64_t>(n)});
}

Types rule_random(const OpArgs& args) {
  auto dtype = DType::kFp32;
  for (const auto name : {"prob", "mean", "stddev", "low", "high"}) {
    if (args.has(name)) dtype = args.type(name).dtype;
  }
  if (!args.known("shape")) return unknown_shape(args, "shape", dtype);
  return tensor_of(dtype, args.integers("shape"));
}

Types rule_random_categorical(const OpArgs& args) {
  auto out = args.type("x");
  if (out.dims.empty()) args.fail("x", "expected x of rank 1 or more, got a scalar");
  choice(args, "mode", {"logits", "probs"});
  out.dims.back() = positive(args, "size");
  return {out};
}

}  // namespace milane::mil

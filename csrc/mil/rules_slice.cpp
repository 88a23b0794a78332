// Slices.
#include <algorithm>
#include <optional>

#include "mil/rules.h"

namespace milane::mil {
namespace {

// One axis of a slice: ends that are not known at compile time are empty.
struct Range {
  std::optional<std::int64_t> begin, end;
  std::int64_t stride = 1;
  bool from_start = false, to_end = false;  // begin_mask, end_mask
};

// How many elements the range takes of an axis of `n`: Python's slicing, clamped to the axis.
std::int64_t sliced(const Range& r, std::int64_t n) {
  const auto step = r.stride < 0 ? -r.stride : r.stride;
  if (n < 0) {
    if (r.from_start && r.to_end) return kUnknownDim;
    const bool both = r.begin && r.end && !r.from_start && !r.to_end;
    const bool one =
        both && (*r.begin < 0) == (*r.end < 0) && *r.end - *r.begin == (r.stride < 0 ? -1 : 1);
    const bool last = r.begin && !r.from_start && r.to_end && *r.begin == (r.stride < 0 ? 0 : -1);
    return one || last ? 1 : kUnknownDim;
  }
  if ((!r.from_start && !r.begin) || (!r.to_end && !r.end)) return n == 1 ? 1 : kUnknownDim;
  const auto low = r.stride < 0 ? std::int64_t{-1} : std::int64_t{0};
  const auto high = r.stride < 0 ? n - 1 : n;
  const auto place = [&](std::int64_t at) { return std::clamp(at < 0 ? at + n : at, low, high); };
  const auto first = r.from_start ? (r.stride < 0 ? high : low) : place(*r.begin);
  const auto last = r.to_end ? (r.stride < 0 ? low : high) : place(*r.end);
  const auto span = r.stride < 0 ? first - last : last - first;
  return span <= 0 ? 0 : (span + step - 1) / step;
}

std::vector<std::optional<std::int64_t>> positions(const OpArgs& args, std::string_view name,
                                                   std::size_t rank) {
  std::vector<std::optional<std::int64_t>> all(rank);
  check_list(args, name, rank);
  if (!args.known(name)) return all;
  const auto values = args.integers(name);
  for (std::size_t i = 0; i < rank; ++i) all[i] = values[i];
  return all;
}

// The shape that begin, end, stride and the masks cut out of x.
Dims slice_shape(const OpArgs& args) {
  const auto& x = args.dims("x");
  const auto rank = x.size();
  const auto begin = positions(args, "begin", rank), end = positions(args, "end", rank);
  for (const auto name : {"stride", "begin_mask", "end_mask", "squeeze_mask"}) {
    check_list(args, name, rank);
  }
  const auto stride = args.integers_or("stride", rank, 1);
  const auto begin_mask = args.booleans_or("begin_mask", rank, false);
  const auto end_mask = args.booleans_or("end_mask", rank, false);
  const auto squeeze_mask = args.booleans_or("squeeze_mask", rank, false);
  Dims out;
  for (std::size_t i = 0; i < rank; ++i) {
    if (squeeze_mask[i]) {
      const auto at = begin_mask[i] ? 0 : begin[i].value_or(0);
      if (x[i] >= 0 && (at < -x[i] || at >= x[i])) {
        args.fail("begin", "expected begin in [" + std::to_string(-x[i]) + ", " +
                               std::to_string(x[i]) + ") along axis " + std::to_string(i) +
                               ", got " + std::to_string(at));
      }
      continue;
    }
    if (stride[i] == 0) args.fail("stride", "expected strides other than 0, got 0");
    const auto size = sliced({begin[i], end[i], stride[i], begin_mask[i], end_mask[i]}, x[i]);
    if (size == 0) {
      args.fail("end", "expected a slice that takes something along axis " + std::to_string(i) +
                           " of size " + std::to_string(x[i]) + ", got an empty one");
    }
    out.push_back(size);
  }
  return out;
}

}  // namespace

Types rule_slice_by_index(const OpArgs& args) {
  return tensor_of(args.type("x").dtype, slice_shape(args));
}

// ios18.
Types rule_slice_update(const OpArgs& args) {
  check_shape(args, "update", slice_shape(args));
  return {args.type("x")};
}

Types rule_slice_by_size(const OpArgs& args) {
  auto out = args.type("x");
  const auto rank = out.dims.size();
  const auto begin = positions(args, "begin", rank), size = positions(args, "size", rank);
  for (std::size_t i = 0; i < rank; ++i) {
    auto& n = out.dims[i];
    if (n >= 0 && begin[i] && (*begin[i] < -n || *begin[i] >= n)) {
      args.fail("begin", "expected begin in [" + std::to_string(-n) + ", " + std::to_string(n) +
                             ") along axis " + std::to_string(i) + ", got " +
                             std::to_string(*begin[i]));
    }
    const bool room_known = n >= 0 && begin[i];
    const auto room = room_known ? (*begin[i] < 0 ? -*begin[i] : n - *begin[i]) : n;
    if (!size[i]) {
      n = kUnknownDim;
    } else if (*size[i] == -1) {  // all the rest
      n = room_known ? room : kUnknownDim;
    } else if (*size[i] <= 0 || (n >= 0 && *size[i] > room)) {
      args.fail("size", "expected a size of at most " + std::to_string(room) + " along axis " +
                            std::to_string(i) + ", got " + std::to_string(*size[i]));
    } else {
      n = *size[i];
    }
  }
  return {out};
}

}  // namespace milane::mil

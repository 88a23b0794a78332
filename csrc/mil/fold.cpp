#include "mil/fold.h"

#include <algorithm>
#include <functional>

#include "mil/literal.h"

namespace milane::mil {
namespace {

using Numbers = Dims;
using Fold = std::optional<Numbers> (*)(const OpArgs& args, const Type& out);
using Binary = std::int64_t (*)(std::int64_t, std::int64_t);

// Shapes and masks have a handful of elements; nothing longer is computed here.
constexpr std::int64_t kMostElements = 4096;

std::optional<Numbers> fold_shape(const OpArgs& args, const Type&) { return args.dims("x"); }

std::optional<Numbers> fold_copy(const OpArgs& args, const Type&) { return args.integers("x"); }

// --- elementwise: every operand has one element or as many as the result

std::int64_t at(const Numbers& numbers, std::size_t i) {
  return numbers.size() == 1 ? numbers.front() : numbers[i];
}

bool fits(const Numbers& numbers, std::size_t count) {
  return numbers.size() == 1 || numbers.size() == count;
}

std::int64_t floor_divide(std::int64_t x, std::int64_t y) {
  return x / y - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
}

template <Binary f, bool divides = false>
std::optional<Numbers> fold_binary(const OpArgs& args, const Type& out) {
  const auto x = args.integers("x"), y = args.integers("y");
  Numbers result(static_cast<std::size_t>(element_count(out.dims)));
  if (!fits(x, result.size()) || !fits(y, result.size())) return std::nullopt;
  if (divides && std::find(y.begin(), y.end(), 0) != y.end()) return std::nullopt;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = f(at(x, i), at(y, i));
  return result;
}

std::optional<Numbers> fold_select(const OpArgs& args, const Type& out) {
  const auto cond = args.integers("cond"), a = args.integers("a"), b = args.integers("b");
  Numbers result(static_cast<std::size_t>(element_count(out.dims)));
  if (!fits(cond, result.size()) || !fits(a, result.size()) || !fits(b, result.size())) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = at(at(cond, i) ? a : b, i);
  return result;
}

// --- lists: one axis

std::optional<Numbers> fold_gather(const OpArgs& args, const Type&) {
  if (args.dims("x").size() != 1) return std::nullopt;
  const auto x = args.integers("x");
  auto result = args.integers("indices");
  const auto n = static_cast<std::int64_t>(x.size());
  for (auto& index : result) {
    if (index < -n || index >= n) return std::nullopt;
    index = x[static_cast<std::size_t>(index < 0 ? index + n : index)];
  }
  return result;
}

std::optional<Numbers> taken(const Numbers& x, std::int64_t first, std::int64_t stride,
                             const Type& out) {
  Numbers result(static_cast<std::size_t>(element_count(out.dims)));
  for (auto& number : result) {
    if (first < 0 || first >= static_cast<std::int64_t>(x.size())) return std::nullopt;
    number = x[static_cast<std::size_t>(first)];
    first += stride;
  }
  return result;
}

std::optional<Numbers> fold_slice_by_index(const OpArgs& args, const Type& out) {
  if (args.dims("x").size() != 1) return std::nullopt;
  const auto x = args.integers("x");
  const auto n = static_cast<std::int64_t>(x.size());
  const auto stride = args.integers_or("stride", 1, 1).front();
  auto first = args.integers("begin").front();
  first = std::clamp<std::int64_t>(first < 0 ? first + n : first, stride < 0 ? -1 : 0,
                                   stride < 0 ? n - 1 : n);
  if (args.booleans_or("begin_mask", 1, false).front()) first = stride < 0 ? n - 1 : 0;
  return taken(x, first, stride, out);
}

std::optional<Numbers> fold_slice_by_size(const OpArgs& args, const Type& out) {
  if (args.dims("x").size() != 1) return std::nullopt;
  const auto x = args.integers("x");
  const auto begin = args.integers("begin").front();
  return taken(x, begin < 0 ? begin + static_cast<std::int64_t>(x.size()) : begin, 1, out);
}

// concat of lists, whose pieces may be scalars, and stack of scalars.
std::optional<Numbers> fold_join(const OpArgs& args, const Type& out) {
  if (out.dims.size() != 1) return std::nullopt;
  Numbers result;
  for (const auto& piece : args.list("values")) {
    for (std::int64_t i = 0; i < piece.value->count(); ++i) {
      result.push_back(piece.value->integer(i));
    }
  }
  const bool interleaved = args.has("interleave") && args.boolean("interleave");
  return interleaved ? std::nullopt : std::optional(std::move(result));
}

std::optional<Numbers> fold_range(const OpArgs& args, const Type& out) {
  Numbers result(static_cast<std::size_t>(element_count(out.dims)));
  auto next = args.integer("start");
  for (auto& number : result) {
    number = next;
    next += args.integer("step");
  }
  return result;
}

std::optional<Numbers> fold_fill(const OpArgs& args, const Type& out) {
  return Numbers(static_cast<std::size_t>(element_count(out.dims)), args.integer("value"));
}

// Over everything at once.
template <Binary f>
std::optional<Numbers> fold_reduce(const OpArgs& args, const Type& out) {
  const auto x = args.integers("x");
  if (element_count(out.dims) != 1 || x.empty()) return std::nullopt;
  auto result = x.front();
  for (std::size_t i = 1; i < x.size(); ++i) result = f(result, x[i]);
  return Numbers{result};
}

// Unsigned: what does not fit wraps, as it does in the host engine.
constexpr Binary kAdd = [](std::int64_t x, std::int64_t y) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) + static_cast<std::uint64_t>(y));
};
constexpr Binary kSub = [](std::int64_t x, std::int64_t y) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) - static_cast<std::uint64_t>(y));
};
constexpr Binary kMul = [](std::int64_t x, std::int64_t y) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(y));
};
constexpr Binary kMax = [](std::int64_t x, std::int64_t y) { return std::max(x, y); };
constexpr Binary kMin = [](std::int64_t x, std::int64_t y) { return std::min(x, y); };
constexpr Binary kFloorDiv = floor_divide;
constexpr Binary kMod = [](std::int64_t x, std::int64_t y) { return x - floor_divide(x, y) * y; };
constexpr Binary kEqual = [](std::int64_t x, std::int64_t y) { return std::int64_t{x == y}; };
constexpr Binary kNotEqual = [](std::int64_t x, std::int64_t y) { return std::int64_t{x != y}; };
constexpr Binary kLess = [](std::int64_t x, std::int64_t y) { return std::int64_t{x < y}; };
constexpr Binary kLessEqual = [](std::int64_t x, std::int64_t y) { return std::int64_t{x <= y}; };
constexpr Binary kGreater = [](std::int64_t x, std::int64_t y) { return std::int64_t{x > y}; };
constexpr Binary kGreaterEqual = [](std::int64_t x, std::int64_t y) {
  return std::int64_t{x >= y};
};

struct Row {
  std::string_view op;
  Fold fold;
};

constexpr Row kRows[] = {
    {"shape", fold_shape},
    {"cast", fold_copy},
    {"identity", fold_copy},
    {"reshape", fold_copy},
    {"expand_dims", fold_copy},
    {"squeeze", fold_copy},
    {"flatten2d", fold_copy},
    {"add", fold_binary<kAdd>},
    {"sub", fold_binary<kSub>},
    {"mul", fold_binary<kMul>},
    {"maximum", fold_binary<kMax>},
    {"minimum", fold_binary<kMin>},
    {"floor_div", fold_binary<kFloorDiv, true>},
    {"mod", fold_binary<kMod, true>},
    {"equal", fold_binary<kEqual>},
    {"not_equal", fold_binary<kNotEqual>},
    {"less", fold_binary<kLess>},
    {"less_equal", fold_binary<kLessEqual>},
    {"greater", fold_binary<kGreater>},
    {"greater_equal", fold_binary<kGreaterEqual>},
    {"select", fold_select},
    {"gather", fold_gather},
    {"slice_by_index", fold_slice_by_index},
    {"slice_by_size", fold_slice_by_size},
    {"concat", fold_join},
    {"stack", fold_join},
    {"range_1d", fold_range},
    {"fill", fold_fill},
    {"reduce_prod", fold_reduce<kMul>},
    {"reduce_sum", fold_reduce<kAdd>},
    {"reduce_max", fold_reduce<kMax>},
    {"reduce_min", fold_reduce<kMin>},
};

bool is_whole(DType dtype) { return is_integer(dtype) || dtype == DType::kBool; }

bool all_known(const OpArgs& args) {
  for (const auto& argument : args.schema().args) {
    for (const auto& operand : args.list(argument.name)) {
      if (operand.value == nullptr) return false;
      const auto dtype = operand.type.dtype;
      if (!is_whole(dtype) && dtype != DType::kString) return false;
    }
  }
  return true;
}

}  // namespace

std::optional<Value> fold(const OpArgs& args, const Type& type) {
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const Row& r) { return r.op == args.schema().name; });
  if (row == std::end(kRows) || !type.is_tensor() || !is_whole(type.dtype)) return std::nullopt;
  if (element_count(type.dims) > kMostElements) return std::nullopt;
  // The shape of a value is known, whatever the value is.
  if (row->fold != fold_shape && !all_known(args)) return std::nullopt;
  const auto numbers = row->fold(args, type);
  if (!numbers || static_cast<std::int64_t>(numbers->size()) != element_count(type.dims)) {
    return std::nullopt;
  }
  Value value;
  value.type = type;
  value.location = args.operation().location;
  ElementWriter writer(type.dtype, value.data);
  for (const auto n : *numbers) {
    writer.put(type.dtype == DType::kBool ? n != 0 : static_cast<std::uint64_t>(n));
  }
  return value;
}

}  // namespace milane::mil

#include "mil/infer.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "core/half.h"
#include "mil/diagnostic.h"
#include "mil/rules.h"

namespace milane::mil {
namespace {

template <class T>
T load_at(const std::byte* data, std::int64_t i) {
  T value;
  std::memcpy(&value, data + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Element i of a bit stream, lowest bit first (MIL blob storage's form of sub-byte types).
std::uint32_t load_bits(const std::byte* data, std::int64_t i, int bits) {
  std::uint32_t value = 0;
  for (int b = 0; b < bits; ++b) {
    const auto at = i * bits + b;
    const auto byte = std::to_integer<std::uint32_t>(data[at / 8]);
    value |= (byte >> (at % 8) & 1u) << b;
  }
  return value;
}

// 8-bit floats: 4 exponent bits without infinities (e4m3fn), or 5 like a cut half (e5m2).
double load_fp8(std::uint8_t bits, DType dtype) {
  if (dtype == DType::kFp8E5M2) {
    return half_to_float(Half{static_cast<std::uint16_t>(bits << 8)});
  }
  const double sign = bits & 0x80 ? -1 : 1;
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  if (exponent == 15 && fraction == 7) return std::nan("");
  return exponent == 0 ? sign * std::ldexp(fraction, -9)
                       : sign * std::ldexp(8 + fraction, exponent - 10);
}

double load_float(const std::byte* data, std::int64_t i, DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return half_to_float(Half{load_at<std::uint16_t>(data, i)});
    case DType::kFp32:
      return load_at<float>(data, i);
    case DType::kFp64:
      return load_at<double>(data, i);
    case DType::kBf16:
      return std::bit_cast<float>(std::uint32_t{load_at<std::uint16_t>(data, i)} << 16);
    default:
      return load_fp8(load_at<std::uint8_t>(data, i), dtype);
  }
}

}  // namespace

std::int64_t ConstView::integer(std::int64_t i) const {
  switch (dtype) {
    case DType::kBool:
      return load_at<std::uint8_t>(data, i) != 0;
    case DType::kInt8:
      return load_at<std::int8_t>(data, i);
    case DType::kInt16:
      return load_at<std::int16_t>(data, i);
    case DType::kInt32:
      return load_at<std::int32_t>(data, i);
    case DType::kInt64:
      return load_at<std::int64_t>(data, i);
    case DType::kUInt8:
      return load_at<std::uint8_t>(data, i);
    case DType::kUInt16:
      return load_at<std::uint16_t>(data, i);
    case DType::kUInt32:
      return load_at<std::uint32_t>(data, i);
    case DType::kUInt64:
      return static_cast<std::int64_t>(load_at<std::uint64_t>(data, i));
    case DType::kInt4:
      return static_cast<std::int64_t>(load_bits(data, i, 4) ^ 8u) - 8;
    case DType::kString:
      return 0;
    default:
      return is_float(dtype) ? static_cast<std::int64_t>(load_float(data, i, dtype))
                             : load_bits(data, i, dtype_bits(dtype));
  }
}

double ConstView::number(std::int64_t i) const {
  return is_float(dtype) ? load_float(data, i, dtype) : static_cast<double>(integer(i));
}

const std::string& ConstView::text() const {
  static const std::string kEmpty;
  return strings && !strings->empty() ? strings->front() : kEmpty;
}

ConstView const_view(const Value& value) {
  return {value.type.dtype, value.type.dims, value.data.data(), &value.strings};
}

OpArgs::OpArgs(const Program& program, const Operation& operation, const OpSchema& schema,
               std::vector<ArgOperands> arguments, std::shared_ptr<const void> owner)
    : program_(&program),
      operation_(&operation),
      schema_(&schema),
      arguments_(std::move(arguments)),
      owner_(std::move(owner)) {}

const ArgInfo& OpArgs::get(std::string_view name) const {
  const auto operands = list(name);
  if (operands.size() != 1) fail(name, "expected one `" + std::string(name) + "`");
  return operands.front();
}

std::span<const ArgInfo> OpArgs::list(std::string_view name) const {
  const auto* found = find_argument(arguments_, name);
  if (!found) return {};
  return found->operands;
}

const ConstView* OpArgs::value(std::string_view name) const {
  const auto operands = list(name);
  return operands.size() == 1 ? operands.front().value : nullptr;
}

bool OpArgs::known(std::string_view name) const {
  if (has(name)) return value(name) != nullptr;
  const auto* arg = schema_->arg(name);
  return arg && arg->fallback;
}

// The constant behind a getter: the written one, else the schema's default.
ConstView OpArgs::constant(std::string_view name) const {
  if (has(name)) {
    const auto& info = get(name);
    if (info.value) return *info.value;
    if (info.constant) throw ValueNotAtHand{};
    fail(name, "expected a constant " + std::string(name) + ", got one known only at run time");
  }
  const auto* arg = schema_->arg(name);
  if (!arg || !arg->fallback) fail(name, "expected an argument `" + std::string(name) + "`");
  return const_view(*arg->fallback);
}

ConstView OpArgs::scalar(std::string_view name) const {
  auto view = constant(name);
  if (view.count() != 1) {
    fail(name,
         "expected " + std::string(name) + " to be a scalar, got shape " + to_string(view.dims));
  }
  return view;
}

std::int64_t OpArgs::integer(std::string_view name) const { return scalar(name).integer(); }
double OpArgs::number(std::string_view name) const { return scalar(name).number(); }
bool OpArgs::boolean(std::string_view name) const { return scalar(name).integer() != 0; }

const std::string& OpArgs::text(std::string_view name) const {
  const auto view = scalar(name);
  if (!view.strings || view.strings->empty()) {
    fail(name, "expected " + std::string(name) + " to be a string");
  }
  return view.strings->front();
}

Dims OpArgs::integers(std::string_view name) const {
  const auto view = constant(name);
  Dims all(static_cast<std::size_t>(view.count()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = view.integer(static_cast<std::int64_t>(i));
  return all;
}

std::vector<bool> OpArgs::booleans(std::string_view name) const {
  const auto all = integers(name);
  return std::vector<bool>(all.begin(), all.end());
}

Dims OpArgs::integers_or(std::string_view name, std::size_t n, std::int64_t otherwise) const {
  return has(name) ? integers(name) : Dims(n, otherwise);
}

std::vector<bool> OpArgs::booleans_or(std::string_view name, std::size_t n, bool otherwise) const {
  return has(name) ? booleans(name) : std::vector<bool>(n, otherwise);
}

std::int64_t OpArgs::checked_axis(std::string_view name, std::int64_t axis,
                                  std::size_t rank) const {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r) {
    fail(name, std::string(name) + " must be in [" + std::to_string(-r) + ", " + std::to_string(r) +
                   "), got " + std::to_string(axis));
  }
  return axis < 0 ? axis + r : axis;
}

std::int64_t OpArgs::axis(std::string_view name, std::size_t rank) const {
  return checked_axis(name, integer(name), rank);
}

Dims OpArgs::axes(std::string_view name, std::size_t rank) const {
  auto all = integers(name);
  std::vector<bool> seen(rank, false);
  for (auto& axis : all) {
    const auto written = axis;
    axis = checked_axis(name, axis, rank);
    if (seen[static_cast<std::size_t>(axis)]) {
      fail(name, "expected distinct " + std::string(name) + ", got " + std::to_string(written) +
                     " twice");
    }
    seen[static_cast<std::size_t>(axis)] = true;
  }
  return all;
}

void OpArgs::fail(std::string_view argument, const std::string& message, const std::string& hint,
                  std::size_t operand) const {
  const auto operands = list(argument);
  auto where = operation_->location;
  if (operand < operands.size() && operands[operand].location.line > 0) {
    where = operands[operand].location;
  }
  throw make_error(ErrorCode::kVerify, *program_, where, operation_->type + ": " + message, hint);
}

std::vector<Type> infer(const OpArgs& args) {
  try {
    return args.schema().infer(args);
  } catch (const ValueNotAtHand&) {
    std::vector<Type> declared;
    for (const auto& output : args.operation().outputs) declared.push_back(output.type);
    return declared;
  }
}

bool broadcast_dims(const Dims& a, const Dims& b, Dims* out) {
  const auto& longer = a.size() >= b.size() ? a : b;
  const auto& shorter = a.size() >= b.size() ? b : a;
  Dims dims = longer;
  const auto offset = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    auto& x = dims[offset + i];
    const auto y = shorter[i];
    if (x == y || y == 1) continue;
    if (x == 1 || x == kUnknownDim) {
      x = y;
    } else if (y != kUnknownDim) {
      return false;
    }
  }
  *out = std::move(dims);
  return true;
}

bool compatible(const Type& declared, const Type& inferred) {
  if (declared.kind != inferred.kind || declared.dtype != inferred.dtype ||
      declared.params.size() != inferred.params.size() ||
      !shapes_agree(declared.dims, inferred.dims)) {
    return false;
  }
  for (std::size_t i = 0; i < declared.params.size(); ++i) {
    if (!compatible(declared.params[i], inferred.params[i])) return false;
  }
  return true;
}

}  // namespace milane::mil

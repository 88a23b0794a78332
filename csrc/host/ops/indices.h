// Integers that are only known at run time: positions, indices, lengths.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "host/op.h"

namespace milane::host {

// Calls body<I>() with the C++ type of an index dtype.
template <class Body>
void dispatch_index(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kInt16:
      return body.template operator()<std::int16_t>();
    case DType::kUInt16:
      return body.template operator()<std::uint16_t>();
    case DType::kInt8:
      return body.template operator()<std::int8_t>();
    case DType::kUInt8:
    case DType::kBool:
      return body.template operator()<std::uint8_t>();
    default:
      return body.template operator()<std::int32_t>();
  }
}

// Element i of an integer tensor.
inline std::int64_t read_index(const std::byte* data, DType dtype, std::int64_t i) {
  std::int64_t value = 0;
  dispatch_index(dtype, [&]<class I>() { value = reinterpret_cast<const I*>(data)[i]; });
  return value;
}

// Refuses the dtypes that dispatch_index does not know.
inline void expect_index_dtype(const OpSite& site, std::string_view name) {
  const DType t = site.in(name).dtype;
  if (t != DType::kInt32 && t != DType::kInt16 && t != DType::kUInt16 && t != DType::kInt8 &&
      t != DType::kUInt8) {
    site.args.fail(
        name, "expected int32, int16, uint16, int8 or uint8, got " + std::string(dtype_name(t)));
  }
}

// "gather (y)": the operation and what it defines, for messages at run time.
inline std::string site_name(const OpSite& site) {
  const auto& operation = site.args.operation();
  if (operation.outputs.empty()) return operation.type;
  return operation.type + " (" + operation.outputs.front().name + ")";
}

// How an index is made safe. Negative ones count from the end (the first two opsets say so).
// With validate_indices (ios17, where negative indices are out of range) the first bad one throws;
// without, the opset leaves the result undefined but memory safe: here the index is clamped.
inline std::int64_t wrap_index(std::int64_t index, std::int64_t bound) {
  return index < 0 ? index + bound : index;
}
inline std::int64_t clamp_index(std::int64_t index, std::int64_t bound) {
  const std::int64_t i = wrap_index(index, bound);
  return i < 0 ? 0 : i >= bound ? bound - 1 : i;
}

[[noreturn]] inline void throw_bad_index(const std::string& where, std::int64_t index,
                                         std::int64_t bound) {
  throw Error(ErrorCode::kEval, where + ": expected indices in [0, " + std::to_string(bound) +
                                    "), got " + std::to_string(index));
}

// Throws for the first of `count` indices outside [0, bound).
inline void validate_indices(const std::string& where, const std::byte* data, DType dtype,
                             std::int64_t count, std::int64_t bound) {
  dispatch_index(dtype, [&]<class I>() {
    const I* indices = reinterpret_cast<const I*>(data);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t v = indices[i];
      if (v < 0 || v >= bound) throw_bad_index(where, v, bound);
    }
  });
}

// validate_indices, for operations whose older opsets lack the argument.
inline bool wants_validation(const OpSite& site) {
  return site.args.known("validate_indices") && site.args.boolean("validate_indices");
}

}  // namespace milane::host

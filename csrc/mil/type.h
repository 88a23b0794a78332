// MIL types: tensors and the few that wrap them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace milane::mil {

struct Type {
  enum class Kind : std::uint8_t { kTensor, kList, kTuple, kDict, kState, kTensorBuffer };

  Kind kind = Kind::kTensor;
  DType dtype = DType::kFp16;  // tensor, tensor_buffer
  Dims dims;                   // tensor; list: {length}
  std::vector<Type> params;  // list: {element}; tuple: members; dict: {key, value}; state: {tensor}
  std::vector<std::pair<std::string, Dims>> buffer;  // tensor_buffer: shape=, strides=, ...

  static Type tensor(DType dtype, Dims dims = {}) {
    return {Kind::kTensor, dtype, std::move(dims), {}, {}};
  }
  static Type state(Type wrapped) {
    return {Kind::kState, wrapped.dtype, {}, {std::move(wrapped)}, {}};
  }
  static Type list(Type element, std::int64_t length) {
    return {Kind::kList, element.dtype, {length}, {std::move(element)}, {}};
  }

  bool is_tensor() const { return kind == Kind::kTensor; }
  bool is_scalar() const { return is_tensor() && dims.empty(); }
  bool is_state() const { return kind == Kind::kState; }
  // The tensor a state wraps, or the type itself.
  const Type& unwrapped() const { return is_state() ? params.front() : *this; }

  bool operator==(const Type&) const = default;
};

// As program(1.3) writes it (`canonical` false: `fp16`, `string`) or as program(1.0) does
// (`canonical` true: `tensor<fp16, []>`).
std::string to_string(const Type& type, bool canonical = false);

}  // namespace milane::mil

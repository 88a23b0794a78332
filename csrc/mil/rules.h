// The type rules named by ops.def, and what they share.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "mil/infer.h"

namespace milane::mil {

using milane::to_string;
using Types = std::vector<Type>;

// Several rows share a rule; repeating a declaration is allowed.
#define MILANE_OP(name, since, host, rule, signature) Types rule_##rule(const OpArgs& args);
#include "mil/ops.def"
#undef MILANE_OP

// Thrown by the getters of OpArgs for a constant whose bytes are not at hand yet (a weight file at
// verify time, a compressed constant); infer() then takes the declared types.
struct ValueNotAtHand {};

inline Types tensor_of(DType dtype, Dims dims) {
  Types types;
  types.push_back(Type::tensor(dtype, std::move(dims)));
  return types;
}

// Arithmetic on dimensions; unknown stays unknown, a product too large for int64 saturates.
inline std::int64_t dim_product(std::int64_t a, std::int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a < 0 || b < 0) return kUnknownDim;
  const auto most = std::numeric_limits<std::int64_t>::max();
  return a > most / b ? most : a * b;
}
inline std::int64_t dim_sum(std::int64_t a, std::int64_t b) {
  return a < 0 || b < 0 ? kUnknownDim : a + b;
}
inline bool dims_agree(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 || a == b; }

bool shapes_agree(const Dims& a, const Dims& b);
// What both say together: the known dimension where either knows it.
Dims merge_dims(const Dims& a, const Dims& b);

// Errors unless the argument's rank lies in [lowest, highest].
void check_rank(const OpArgs& args, std::string_view name, std::size_t lowest,
                std::size_t highest = 5);
// Errors unless the argument's shape fits `expected`; unknown dimensions fit anything.
void check_shape(const OpArgs& args, std::string_view name, const Dims& expected);
// Errors unless the argument is a scalar or a list of `count` elements, when it is written.
void check_list(const OpArgs& args, std::string_view name, std::size_t count);
// The string argument, when it is one of `choices`; letters' case is as written.
const std::string& choice(const OpArgs& args, std::string_view name,
                          std::initializer_list<std::string_view> choices);
// The element type a string argument names.
DType named_dtype(const OpArgs& args, std::string_view name, std::initializer_list<DType> choices);
// A positive constant integer.
std::int64_t positive(const OpArgs& args, std::string_view name);

}  // namespace milane::mil

// Elementwise operations: each is one instruction and its scalar parameters.
#include <limits>

#include "core/error.h"
#include "host/chain.h"

namespace milane::host {
namespace {

Lowered unary(MicroOp op, float p = 0, float q = 0) {
  return {{op, false, 0, 0, 0, 0, p, q}, {"x", {}, {}}};
}
Lowered binary(MicroOp op) { return {{op, false, 0, 0, 0, 0, 0, 0}, {"x", "y", {}}}; }

float number(const OpSite& site, std::string_view name) {
  return static_cast<float>(site.args.number(name));
}

// The range a float may have before it is stored as this integer type.
Lowered truncate_to(DType t) {
  const int bits = dtype_bits(t);
  const float high = is_signed(t) ? static_cast<float>((std::int64_t{1} << (bits - 1)) - 1)
                                  : static_cast<float>((std::uint64_t{1} << bits) - 1);
  const float low = is_signed(t) ? static_cast<float>(-(std::int64_t{1} << (bits - 1))) : 0.0f;
  return unary(MicroOp::kTruncate, low, high);
}

}  // namespace

#define MILANE_UNARY(name, code) \
  Lowered chain_##name(const OpSite&) { return unary(MicroOp::code); }
#define MILANE_BINARY(name, code) \
  Lowered chain_##name(const OpSite&) { return binary(MicroOp::code); }

MILANE_UNARY(abs, kAbs)
MILANE_UNARY(acos, kAcos)
MILANE_UNARY(asin, kAsin)
MILANE_UNARY(atan, kAtan)
MILANE_UNARY(atanh, kAtanh)
MILANE_UNARY(ceil, kCeil)
MILANE_UNARY(cos, kCos)
MILANE_UNARY(cosh, kCosh)
MILANE_UNARY(erf, kErf)
MILANE_UNARY(exp, kExp)
MILANE_UNARY(exp2, kExp2)
MILANE_UNARY(floor, kFloor)
MILANE_UNARY(relu, kRelu)
MILANE_UNARY(round, kRound)
MILANE_UNARY(sigmoid, kSigmoid)
MILANE_UNARY(sign, kSign)
MILANE_UNARY(silu, kSilu)
MILANE_UNARY(sin, kSin)
MILANE_UNARY(sinh, kSinh)
MILANE_UNARY(softplus, kSoftplus)
MILANE_UNARY(softsign, kSoftsign)
MILANE_UNARY(sqrt, kSqrt)
MILANE_UNARY(square, kSquare)
MILANE_UNARY(tan, kTan)
MILANE_UNARY(tanh, kTanh)
MILANE_UNARY(logical_not, kNot)

MILANE_BINARY(add, kAdd)
MILANE_BINARY(sub, kSub)
MILANE_BINARY(mul, kMul)
MILANE_BINARY(real_div, kDiv)
MILANE_BINARY(floor_div, kFloorDiv)
MILANE_BINARY(mod, kMod)
MILANE_BINARY(pow, kPow)
MILANE_BINARY(maximum, kMax)
MILANE_BINARY(minimum, kMin)
MILANE_BINARY(equal, kEqual)
MILANE_BINARY(not_equal, kNotEqual)
MILANE_BINARY(less, kLess)
MILANE_BINARY(less_equal, kLessEqual)
MILANE_BINARY(greater, kGreater)
MILANE_BINARY(greater_equal, kGreaterEqual)
MILANE_BINARY(logical_and, kAnd)
MILANE_BINARY(logical_or, kOr)
MILANE_BINARY(logical_xor, kXor)

#undef MILANE_UNARY
#undef MILANE_BINARY

float epsilon_of(const OpSite& site) {
  const float epsilon = number(site, "epsilon");
  const bool is_default = !site.has("epsilon");
  return is_default && site.args.type("x").dtype == DType::kFp16 ? round_to_half(epsilon) : epsilon;
}

Lowered chain_inverse(const OpSite& s) { return unary(MicroOp::kInverse, epsilon_of(s)); }
Lowered chain_log(const OpSite& s) { return unary(MicroOp::kLog, epsilon_of(s)); }
Lowered chain_rsqrt(const OpSite& s) { return unary(MicroOp::kRsqrt, epsilon_of(s)); }

Lowered chain_clip(const OpSite& s) {
  return unary(MicroOp::kClip, number(s, "alpha"), number(s, "beta"));
}
Lowered chain_relu6(const OpSite&) { return unary(MicroOp::kClip, 0, 6); }
Lowered chain_clamped_relu(const OpSite& s) {
  return unary(MicroOp::kClampedRelu, number(s, "alpha"), number(s, "beta"));
}
Lowered chain_elu(const OpSite& s) { return unary(MicroOp::kElu, number(s, "alpha")); }
Lowered chain_leaky_relu(const OpSite& s) { return unary(MicroOp::kLeakyRelu, number(s, "alpha")); }
Lowered chain_linear_activation(const OpSite& s) {
  return unary(MicroOp::kLinear, number(s, "alpha"), number(s, "beta"));
}
Lowered chain_scaled_tanh(const OpSite& s) {
  return unary(MicroOp::kScaledTanh, number(s, "alpha"), number(s, "beta"));
}
Lowered chain_sigmoid_hard(const OpSite& s) {
  return unary(MicroOp::kSigmoidHard, number(s, "alpha"), number(s, "beta"));
}
Lowered chain_threshold(const OpSite& s) { return unary(MicroOp::kThreshold, number(s, "alpha")); }
Lowered chain_thresholded_relu(const OpSite& s) {
  return unary(MicroOp::kThresholdedRelu, number(s, "alpha"));
}

Lowered chain_gelu(const OpSite& site) {
  const std::string& mode = site.args.text("mode");
  if (mode == "EXACT") return unary(MicroOp::kGeluExact);
  if (mode == "TANH_APPROXIMATION") return unary(MicroOp::kGeluTanh);
  if (mode == "SIGMOID_APPROXIMATION") return unary(MicroOp::kGeluSigmoid);
  site.args.fail("mode",
                 "expected \"EXACT\", \"TANH_APPROXIMATION\" or \"SIGMOID_APPROXIMATION\", got \"" +
                     mode + "\"");
}

// Float to integer truncates toward zero and saturates, NaN gives 0; to bool: non-zero is true.
Lowered chain_cast(const OpSite& site) {
  const DType from = site.in("x").dtype, to = site.out().dtype;
  if (to == DType::kBool) return unary(MicroOp::kToBool);
  if (is_float(from) && is_integer(to)) return truncate_to(to);
  return unary(MicroOp::kCopy);
}

Lowered chain_select(const OpSite&) {
  return {{MicroOp::kSelect, false, 0, 0, 0, 0, 0, 0}, {"cond", "a", "b"}};
}

}  // namespace milane::host

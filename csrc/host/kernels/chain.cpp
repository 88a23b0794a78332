// Elementwise chains over register tiles. Each instruction is one loop the compiler vectorises;
// no contraction, so every instruction set gives the same bits where the C library is not called.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "host/kernels/functions.h"
#include "host/kernels/kernels.h"
#include "host/kernels/micro.h"
#include "host/kernels/part.h"

namespace milane::host::MILANE_ISA {

void round_to_half(float* x, std::size_t n);

namespace {

inline float sign_of(float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : x); }

// Python's modulo: the result has the divisor's sign.
inline float mod_of(float x, float y) {
  const float r = std::fmod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

inline float pow_of(float x, float y) {
  // The exponents that occur, without the error of a general power.
  if (y == 2.0f) return x * x;
  if (y == 0.5f && x > 0) return std::sqrt(x);
  if (y == -0.5f && x > 0) return 1.0f / std::sqrt(x);
  if (y == -1.0f) return 1.0f / x;
  return std::pow(x, y);
}

template <class F>
inline void map1(float* __restrict d, const float* __restrict a, int n, F f) {
  for (int i = 0; i < n; ++i) d[i] = f(a[i]);
}
// The same with a function of registers.
template <class F>
MILANE_INLINE void map_vec(float* __restrict d, const float* __restrict a, int n, F f) {
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) store_vec(d + i, f(load_vec(a + i)));
  if (i < n) store_part(d + i, f(load_part(a + i, n - i)), n - i);
}
template <class F>
inline void map2(float* __restrict d, const float* __restrict a, const float* __restrict b, int n,
                 F f) {
  for (int i = 0; i < n; ++i) d[i] = f(a[i], b[i]);
}

// One instruction; d never aliases a source register.
void step(const Micro& m, float* d, const float* a, const float* b, const float* c, int n) {
  const float p = m.p, q = m.q;
  switch (m.op) {
    case MicroOp::kCopy:
      return map1(d, a, n, [](float x) { return x; });
    case MicroOp::kTruncate:
      return map1(d, a, n, [=](float x) {
        const float t = std::trunc(x);
        return x != x ? 0.0f : (t < p ? p : (t > q ? q : t));
      });
    case MicroOp::kToBool:
      return map1(d, a, n, [](float x) { return x != 0 ? 1.0f : 0.0f; });
    case MicroOp::kAbs:
      return map1(d, a, n, [](float x) { return std::fabs(x); });
    case MicroOp::kAcos:
      return map1(d, a, n, [](float x) { return std::acos(x); });
    case MicroOp::kAsin:
      return map1(d, a, n, [](float x) { return std::asin(x); });
    case MicroOp::kAtan:
      return map1(d, a, n, [](float x) { return std::atan(x); });
    case MicroOp::kAtanh:
      return map1(d, a, n, [](float x) { return std::atanh(x); });
    case MicroOp::kCeil:
      return map1(d, a, n, [](float x) { return std::ceil(x); });
    case MicroOp::kCos:
      return map1(d, a, n, [](float x) { return std::cos(x); });
    case MicroOp::kCosh:
      return map1(d, a, n, [](float x) { return std::cosh(x); });
    case MicroOp::kErf:
      return map1(d, a, n, [](float x) { return std::erf(x); });
    case MicroOp::kExp:
      return map_vec(d, a, n, [](Vec x) { return exp_of(x); });
    case MicroOp::kExp2:
      return map1(d, a, n, [](float x) { return std::exp2(x); });
    case MicroOp::kFloor:
      return map1(d, a, n, [](float x) { return std::floor(x); });
    case MicroOp::kInverse:
      return map1(d, a, n, [=](float x) { return 1.0f / (x + p); });
    case MicroOp::kLog:
      return map1(d, a, n, [=](float x) { return std::log(x + p); });
    case MicroOp::kRound:
      return map1(d, a, n, [](float x) { return std::nearbyint(x); });
    case MicroOp::kRsqrt:
      return map1(d, a, n, [=](float x) { return 1.0f / std::sqrt(x + p); });
    case MicroOp::kSign:
      return map1(d, a, n, sign_of);
    case MicroOp::kSin:
      return map1(d, a, n, [](float x) { return std::sin(x); });
    case MicroOp::kSinh:
      return map1(d, a, n, [](float x) { return std::sinh(x); });
    case MicroOp::kSqrt:
      return map1(d, a, n, [](float x) { return std::sqrt(x); });
    case MicroOp::kSquare:
      return map1(d, a, n, [](float x) { return x * x; });
    case MicroOp::kTan:
      return map1(d, a, n, [](float x) { return std::tan(x); });
    case MicroOp::kTanh:
      return map_vec(d, a, n, [](Vec x) { return tanh_of(x); });
    case MicroOp::kClip:
      return map1(d, a, n, [=](float x) { return x < p ? p : (x > q ? q : x); });
    case MicroOp::kClampedRelu:
      return map1(d, a, n, [=](float x) {
        const float y = x >= 0 ? x : p * x;
        return y > q ? q : y;
      });
    case MicroOp::kElu:
      return map_vec(d, a, n, [=](Vec x) { return elu_of(x, p); });
    case MicroOp::kGeluExact:
      return map_vec(d, a, n, [](Vec x) { return gelu_of(x); });
    case MicroOp::kGeluTanh:
      return map_vec(d, a, n, [](Vec x) { return gelu_by_tanh(x); });
    case MicroOp::kGeluSigmoid:
      return map_vec(d, a, n, [](Vec x) { return gelu_by_sigmoid(x); });
    case MicroOp::kLeakyRelu:
      return map1(d, a, n, [=](float x) { return x >= 0 ? x : p * x; });
    case MicroOp::kLinear:
      return map1(d, a, n, [=](float x) { return p * x + q; });
    case MicroOp::kRelu:
      return map1(d, a, n, [](float x) { return x < 0 ? 0.0f : x; });
    case MicroOp::kScaledTanh:
      return map_vec(d, a, n, [=](Vec x) { return p * tanh_of(q * x); });
    case MicroOp::kSigmoid:
      return map_vec(d, a, n, [](Vec x) { return sigmoid_of(x); });
    case MicroOp::kSigmoidHard:
      return map1(d, a, n, [=](float x) {
        const float y = p * x + q;
        return y < 0 ? 0.0f : (y > 1 ? 1.0f : y);
      });
    case MicroOp::kSilu:
      return map_vec(d, a, n, [](Vec x) { return silu_of(x); });
    case MicroOp::kSoftplus:
      // log(1 + exp(x)) without overflow.
      map_vec(d, a, n, [](Vec x) { return exp_of(x < 0 ? x : -x); });
      for (int i = 0; i < n; ++i) d[i] = (a[i] > 0 ? a[i] : 0.0f) + std::log1p(d[i]);
      return;
    case MicroOp::kSoftsign:
      return map1(d, a, n, [](float x) {
        const float m1 = std::fabs(x);
        return m1 > 3.0e38f ? sign_of(x) : x / (1.0f + m1);
      });
    case MicroOp::kThreshold:
      return map1(d, a, n, [=](float x) { return x < p ? p : x; });
    case MicroOp::kThresholdedRelu:
      return map1(d, a, n, [=](float x) { return x >= p ? x : 0.0f; });
    case MicroOp::kAdd:
      return map2(d, a, b, n, [](float x, float y) { return x + y; });
    case MicroOp::kSub:
      return map2(d, a, b, n, [](float x, float y) { return x - y; });
    case MicroOp::kMul:
      return map2(d, a, b, n, [](float x, float y) { return x * y; });
    case MicroOp::kDiv:
      return map2(d, a, b, n, [](float x, float y) { return x / y; });
    case MicroOp::kFloorDiv:
      return map2(d, a, b, n, [](float x, float y) { return std::floor(x / y); });
    case MicroOp::kMod:
      return map2(d, a, b, n, mod_of);
    case MicroOp::kPow:
      return map2(d, a, b, n, pow_of);
    case MicroOp::kMax:
      return map2(d, a, b, n,
                  [](float x, float y) { return x != x ? x : (y != y ? y : (x > y ? x : y)); });
    case MicroOp::kMin:
      return map2(d, a, b, n,
                  [](float x, float y) { return x != x ? x : (y != y ? y : (x < y ? x : y)); });
    case MicroOp::kEqual:
      return map2(d, a, b, n, [](float x, float y) { return x == y ? 1.0f : 0.0f; });
    case MicroOp::kNotEqual:
      return map2(d, a, b, n, [](float x, float y) { return x != y ? 1.0f : 0.0f; });
    case MicroOp::kLess:
      return map2(d, a, b, n, [](float x, float y) { return x < y ? 1.0f : 0.0f; });
    case MicroOp::kLessEqual:
      return map2(d, a, b, n, [](float x, float y) { return x <= y ? 1.0f : 0.0f; });
    case MicroOp::kGreater:
      return map2(d, a, b, n, [](float x, float y) { return x > y ? 1.0f : 0.0f; });
    case MicroOp::kGreaterEqual:
      return map2(d, a, b, n, [](float x, float y) { return x >= y ? 1.0f : 0.0f; });
    case MicroOp::kAnd:
      return map2(d, a, b, n, [](float x, float y) { return x * y; });
    case MicroOp::kOr:
      return map2(d, a, b, n, [](float x, float y) { return x > y ? x : y; });
    case MicroOp::kXor:
      return map2(d, a, b, n, [](float x, float y) { return x != y ? 1.0f : 0.0f; });
    case MicroOp::kNot:
      return map1(d, a, n, [](float x) { return 1.0f - x; });
    case MicroOp::kSelect:
      for (int i = 0; i < n; ++i) d[i] = a[i] != 0 ? b[i] : c[i];
      return;
  }
}

}  // namespace

void chain(const Micro* code, int count, float* const* registers, int n) {
  for (int i = 0; i < count; ++i) {
    const Micro& m = code[i];
    float* d = registers[m.dst];
    step(m, d, registers[m.a], registers[m.b], registers[m.c], n);
    if (m.round) round_to_half(d, static_cast<std::size_t>(n));
  }
}

}  // namespace milane::host::MILANE_ISA

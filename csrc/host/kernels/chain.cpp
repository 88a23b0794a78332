// Elementwise chains over register tiles. Each instruction is one loop the compiler vectorises;
// no contraction, so every instruction set gives the same bits where the C library is not called.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "host/kernels/kernels.h"
#include "host/kernels/micro.h"

namespace milane::host::MILANE_ISA {

void round_to_half(float* x, std::size_t n);

namespace {

float from_bits(std::uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// exp to about one unit in the last place: x = n ln2 + r with |r| <= ln2 / 2, a degree-7 Taylor sum
// for e^r, and 2^n built from the exponent bits in two factors so that subnormal results round
// once. Branch-free, so that the loops below vectorise.
inline float exp_of(float x) {
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = clamped * 1.44269504f + magic;
  const float n = shifted - magic;
  // ln2 split so that n * high is exact.
  const float r = (clamped - n * 0.693145752f) - n * 1.42860677e-6f;
  float e = 1.0f / 5040;
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const auto exponent = static_cast<std::int32_t>(n);
  const std::int32_t half = exponent / 2;
  const float scale1 = from_bits(static_cast<std::uint32_t>(half + 127) << 23);
  const float scale2 = from_bits(static_cast<std::uint32_t>(exponent - half + 127) << 23);
  const float y = e * scale1 * scale2;
  return x != x ? x : y;
}

inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

// Odd; near zero the Taylor sum (relative error under 2^-24 for |x| < 0.25), else from exp.
inline float tanh_of(float x) {
  const float a = x < 0 ? -x : x;
  const float t = x * x;
  float small = 62.0f / 2835;
  small = small * t - 17.0f / 315;
  small = small * t + 2.0f / 15;
  small = small * t - 1.0f / 3;
  small = x + x * t * small;
  const float large = 1.0f - 2.0f / (exp_of(2.0f * a) + 1.0f);
  const float y = a < 0.25f ? small : (x < 0 ? -large : large);
  return x != x ? x : y;
}

// log(1 + exp(x)) without overflow.
inline float softplus_of(float x) {
  const float a = x < 0 ? -x : x;
  return (x > 0 ? x : 0.0f) + std::log1p(exp_of(-a));
}

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
      return map1(d, a, n, exp_of);
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
      return map1(d, a, n, tanh_of);
    case MicroOp::kClip:
      return map1(d, a, n, [=](float x) { return x < p ? p : (x > q ? q : x); });
    case MicroOp::kClampedRelu:
      return map1(d, a, n, [=](float x) {
        const float y = x >= 0 ? x : p * x;
        return y > q ? q : y;
      });
    case MicroOp::kElu:
      return map1(d, a, n, [=](float x) {
        // Near zero exp(x) - 1 cancels; its Taylor sum does not.
        const float near =
            x * (1.0f + x * (0.5f + x * (1.0f / 6 + x * (1.0f / 24 + x * (1.0f / 120)))));
        const float e = x > -0.25f ? near : exp_of(x) - 1.0f;
        return x > 0 ? x : p * e;
      });
    case MicroOp::kGeluExact:
      return map1(d, a, n, [](float x) {
        // erfc for the negative side, where 1 + erf cancels.
        return x < 0 ? 0.5f * x * std::erfc(-x * 0.70710678f)
                     : 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
      });
    case MicroOp::kGeluTanh:
      return map1(d, a, n, [](float x) {
        // 0.5 x (1 + tanh u) = x sigmoid(2u); u = sqrt(2/pi) (x + 0.044715 x^3).
        const float u = 0.797884561f * (x + 0.044715f * x * x * x);
        return x < -1e4f ? -0.0f : x * sigmoid_of(2.0f * u);
      });
    case MicroOp::kGeluSigmoid:
      return map1(d, a, n, [](float x) { return x < -1e4f ? -0.0f : x * sigmoid_of(1.702f * x); });
    case MicroOp::kLeakyRelu:
      return map1(d, a, n, [=](float x) { return x >= 0 ? x : p * x; });
    case MicroOp::kLinear:
      return map1(d, a, n, [=](float x) { return p * x + q; });
    case MicroOp::kRelu:
      return map1(d, a, n, [](float x) { return x < 0 ? 0.0f : x; });
    case MicroOp::kScaledTanh:
      return map1(d, a, n, [=](float x) { return p * tanh_of(q * x); });
    case MicroOp::kSigmoid:
      return map1(d, a, n, sigmoid_of);
    case MicroOp::kSigmoidHard:
      return map1(d, a, n, [=](float x) {
        const float y = p * x + q;
        return y < 0 ? 0.0f : (y > 1 ? 1.0f : y);
      });
    case MicroOp::kSilu:
      // Below -104 sigmoid is 0; writing it out keeps -inf from giving NaN.
      return map1(d, a, n, [](float x) { return x < -104.0f ? -0.0f : x * sigmoid_of(x); });
    case MicroOp::kSoftplus:
      return map1(d, a, n, softplus_of);
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

// One instruction of an elementwise chain. Plain data: read by code compiled per instruction set.
#pragma once

#include <cstdint>

namespace milane::host {

// Registers hold floats; bool is 0 or 1. a, b, c are source registers, p and q scalar parameters.
enum class MicroOp : std::uint8_t {
  kCopy,      // a
  kTruncate,  // a toward zero, clamped to [p, q]: cast to an integer
  kToBool,    // a != 0
  kAbs,
  kAcos,
  kAsin,
  kAtan,
  kAtanh,
  kCeil,
  kCos,
  kCosh,
  kErf,
  kExp,
  kExp2,
  kFloor,
  kInverse,  // 1 / (a + p)
  kLog,      // log(a + p)
  kRound,    // half to even
  kRsqrt,    // 1 / sqrt(a + p)
  kSign,
  kSin,
  kSinh,
  kSqrt,
  kSquare,
  kTan,
  kTanh,
  kClip,         // min(max(a, p), q), NaN kept
  kClampedRelu,  // min(q, a >= 0 ? a : p * a)
  kElu,          // a > 0 ? a : p * (exp(a) - 1)
  kGeluExact,
  kGeluTanh,
  kGeluSigmoid,
  kLeakyRelu,  // a >= 0 ? a : p * a
  kLinear,     // p * a + q
  kRelu,
  kScaledTanh,  // p * tanh(q * a)
  kSigmoid,
  kSigmoidHard,  // min(max(p * a + q, 0), 1)
  kSilu,
  kSoftplus,
  kSoftsign,
  kThreshold,        // max(a, p)
  kThresholdedRelu,  // a >= p ? a : 0
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kMax,
  kMin,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAnd,
  kOr,
  kXor,
  kNot,
  kSelect,  // a ? b : c
};

struct Micro {
  MicroOp op = MicroOp::kCopy;
  bool round = false;  // the result is fp16: round it to half
  std::uint8_t dst = 0, a = 0, b = 0, c = 0;
  float p = 0, q = 0;
};

}  // namespace milane::host

// The functions of elementwise operations, a register at a time. Vectors throughout: the compiler
// turns scalar clamps into branches, and those into masks. No contraction: every instruction set
// gives the same bits.
#pragma once

#include "host/kernels/vec.h"

namespace milane::host::MILANE_ISA {

// exp to about one unit in the last place: x = n ln2 + r with |r| <= ln2 / 2, a degree-7 Taylor sum
// for e^r, and 2^n. NaN passes through all of it.
MILANE_INLINE Vec exp_of(Vec x) {
  x = at_most(at_least(x, -104.0f), 89.0f);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the lowest bits
  const Vec shifted = x * 1.44269504f + magic;
  const Vec n = shifted - magic;
  // ln2 split so that n * high is exact.
  const Vec r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  Vec e = r * (1.0f / 5040) + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  return times_power(e, n, shifted);
}

MILANE_INLINE Vec sigmoid_of(Vec x) { return 1.0f / (1.0f + exp_of(-x)); }

// From -104 on sigmoid is 0; a finite factor keeps -infinity from giving NaN.
MILANE_INLINE Vec silu_of(Vec x) { return at_least(x, -104.0f) * sigmoid_of(x); }

// Odd; near zero the Taylor sum (relative error under 2^-24 for |x| < 0.25), else from exp.
MILANE_INLINE Vec tanh_of(Vec x) {
  const Vec a = x < 0 ? -x : x;
  const Vec t = x * x;
  Vec small = t * (62.0f / 2835) - 17.0f / 315;
  small = small * t + 2.0f / 15;
  small = small * t - 1.0f / 3;
  small = x + x * t * small;
  const Vec large = 1.0f - 2.0f / (exp_of(2.0f * a) + 1.0f);
  return a < 0.25f ? small : (x < 0 ? -large : large);
}

// x times the normal distribution's integral up to x, which for x = -a is exp(-a^2 / 2) R(a): R
// falls slowly from 1/2, and is v times a polynomial of v = 3.5 / (a + 3.5), fitted up to a = 14.5
// (relative error 2^-27). Below, all is 0; and x's square is exact where x is a half.
MILANE_INLINE Vec gelu_of(Vec x) {
  const Vec a = at_most(x < 0 ? -x : x, 14.5f);
  const Vec v = 3.5f / (a + 3.5f);
  Vec r = v * -0.016192768f + 0.10372658f;
  r = r * v - 0.2510705f;
  r = r * v + 0.2646219f;
  r = r * v - 0.1336792f;
  r = r * v + 0.12982656f;
  r = r * v + 0.06720241f;
  r = r * v + 0.10789712f;
  r = r * v + 0.11367127f;
  r = r * v + 0.11399662f;
  const Vec below = exp_of(-0.5f * (a * a)) * (r * v);
  return x * (x < 0 ? below : 1.0f - below);
}

// 0.5 x (1 + tanh u) = x sigmoid(2u); u = sqrt(2/pi) (x + 0.044715 x^3). A finite factor where
// sigmoid is 0.
MILANE_INLINE Vec gelu_by_tanh(Vec x) {
  const Vec u = 0.797884561f * (x + 0.044715f * x * x * x);
  return at_least(x, -1e4f) * sigmoid_of(2.0f * u);
}
MILANE_INLINE Vec gelu_by_sigmoid(Vec x) { return at_least(x, -1e4f) * sigmoid_of(1.702f * x); }

MILANE_INLINE Vec elu_of(Vec x, float p) {
  // Near zero exp(x) - 1 cancels; its Taylor sum does not.
  const Vec near = x * (1.0f + x * (0.5f + x * (1.0f / 6 + x * (1.0f / 24 + x * (1.0f / 120)))));
  const Vec e = x > -0.25f ? near : exp_of(x) - 1.0f;
  return x > 0 ? x : p * e;
}

}  // namespace milane::host::MILANE_ISA

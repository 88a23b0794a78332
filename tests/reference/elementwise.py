"""Elementwise operations: arithmetic, comparison, rounding, transcendental functions, cast."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ._args import Array, Number, scalar, wide
from .values import FLOATS, NUMPY, saturate

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _arithmetic(function: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """Broadcast; integers are computed wide and wrap to their own dtype."""
    x, y = np.asarray(x), np.asarray(y)
    result = function(wide(x), wide(y))
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        return result.astype(np.float64)
    dtype = np.result_type(x, y)
    if result.dtype.kind == "f":
        return saturate(result, dtype.name)
    return result.astype(dtype)


def op_add(x: Array, y: Array) -> Array:
    """x + y; integers wrap."""
    return _arithmetic(np.add, x, y)


def op_sub(x: Array, y: Array) -> Array:
    """x - y; integers wrap."""
    return _arithmetic(np.subtract, x, y)


def op_mul(x: Array, y: Array) -> Array:
    """x · y; integers wrap."""
    return _arithmetic(np.multiply, x, y)


def op_real_div(x: Array, y: Array) -> Array:
    """x / y; integers are divided exactly and rounded toward zero."""
    return _arithmetic(np.true_divide, x, y)


def op_floor_div(x: Array, y: Array) -> Array:
    """floor(x / y): rounded toward minus infinity, for integers too."""
    return _arithmetic(np.floor_divide, x, y)


def op_mod(x: Array, y: Array) -> Array:
    """x - floor(x / y) · y: the sign of the divisor."""
    return _arithmetic(np.mod, x, y)


def op_pow(x: Array, y: Array) -> Array:
    """x to the power y; integer powers wrap."""

    def power(a: Array, b: Array) -> Array:
        if a.dtype.kind == "f" or b.dtype.kind == "f" or bool(np.any(b < 0)):
            return np.power(a.astype(np.float64), b.astype(np.float64))
        return np.power(a, b)

    return _arithmetic(power, x, y)


def op_maximum(x: Array, y: Array) -> Array:
    """The larger of x and y; NaN if either is."""
    return _arithmetic(np.maximum, x, y)


def op_minimum(x: Array, y: Array) -> Array:
    """The smaller of x and y; NaN if either is."""
    return _arithmetic(np.minimum, x, y)


def op_equal(x: Array, y: Array) -> Array:
    """x == y, bool."""
    return np.equal(x, y)


def op_not_equal(x: Array, y: Array) -> Array:
    """x != y, bool; NaN differs from everything."""
    return np.not_equal(x, y)


def op_less(x: Array, y: Array) -> Array:
    """x < y, bool."""
    return np.less(x, y)


def op_less_equal(x: Array, y: Array) -> Array:
    """x <= y, bool."""
    return np.less_equal(x, y)


def op_greater(x: Array, y: Array) -> Array:
    """x > y, bool."""
    return np.greater(x, y)


def op_greater_equal(x: Array, y: Array) -> Array:
    """x >= y, bool."""
    return np.greater_equal(x, y)


def op_logical_and(x: Array, y: Array) -> Array:
    """x and y, bool."""
    return np.logical_and(x, y)


def op_logical_or(x: Array, y: Array) -> Array:
    """x or y, bool."""
    return np.logical_or(x, y)


def op_logical_xor(x: Array, y: Array) -> Array:
    """x differs from y, bool."""
    return np.logical_xor(x, y)


def op_logical_not(x: Array) -> Array:
    """not x, bool."""
    return np.logical_not(x)


def op_abs(x: Array) -> Array:
    """|x|."""
    return np.abs(x)


def op_acos(x: Array) -> Array:
    """Arc cosine in [0, pi]; NaN outside [-1, 1]."""
    return np.arccos(x)


def op_asin(x: Array) -> Array:
    """Arc sine; NaN outside [-1, 1]."""
    return np.arcsin(x)


def op_atan(x: Array) -> Array:
    """Arc tangent."""
    return np.arctan(x)


def op_atanh(x: Array) -> Array:
    """Inverse hyperbolic tangent: ±inf at ±1, NaN beyond."""
    return np.arctanh(x)


def op_cos(x: Array) -> Array:
    """Cosine of radians."""
    return np.cos(x)


def op_cosh(x: Array) -> Array:
    """Hyperbolic cosine."""
    return np.cosh(x)


def op_sin(x: Array) -> Array:
    """Sine of radians."""
    return np.sin(x)


def op_sinh(x: Array) -> Array:
    """Hyperbolic sine."""
    return np.sinh(x)


def op_tan(x: Array) -> Array:
    """Tangent of radians."""
    return np.tan(x)


def op_tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


def op_erf(x: Array) -> Array:
    """Gauss error function."""
    return _erf(x)


def op_exp(x: Array) -> Array:
    """e to the power x."""
    return np.exp(x)


def op_exp2(x: Array) -> Array:
    """2 to the power x."""
    x = np.asarray(x)
    result = np.exp2(x.astype(np.float64))
    return result if x.dtype.kind == "f" else saturate(result, x.dtype.name)


def _default(epsilon: Number | None, value: float, x_dtype: str) -> float:
    """An absent epsilon has the dtype of x: 1e-45 and 1e-12 are 0 in fp16.

    That is what coremltools makes of the default (`nptype(x.dtype)(1e-45)`).
    """
    if epsilon is not None:
        return float(scalar(epsilon))
    return float(NUMPY[x_dtype](value)) if x_dtype in FLOATS else value


def op_log(x: Array, epsilon: Number | None = None, *, x_dtype: str = "fp32") -> Array:
    """ln(x + epsilon)."""
    return np.log(np.asarray(x) + _default(epsilon, 1e-45, x_dtype))


def op_rsqrt(x: Array, epsilon: Number | None = None, *, x_dtype: str = "fp32") -> Array:
    """1 / sqrt(x + epsilon)."""
    return np.asarray(1.0 / np.sqrt(np.asarray(x) + _default(epsilon, 1e-12, x_dtype)))


def op_inverse(x: Array, epsilon: Number | None = None, *, x_dtype: str = "fp32") -> Array:
    """1 / (x + epsilon), epsilon 1e-4 unless given."""
    return np.asarray(1.0 / (np.asarray(x) + _default(epsilon, 1e-4, x_dtype)))


def op_sqrt(x: Array) -> Array:
    """Square root; NaN below zero."""
    return np.sqrt(x)


def op_square(x: Array) -> Array:
    """x · x; integers wrap."""
    return _arithmetic(np.multiply, x, x)


def op_sign(x: Array) -> Array:
    """-1, 0 or 1."""
    return np.sign(x)


def op_ceil(x: Array) -> Array:
    """Smallest integer not below x."""
    return np.ceil(x)


def op_floor(x: Array) -> Array:
    """Largest integer not above x."""
    return np.floor(x)


def op_round(x: Array) -> Array:
    """Nearest integer, halves to even (the documentation: 0.5 is rounded to 0)."""
    return np.round(x)


def op_clip(x: Array, alpha: Number, beta: Number) -> Array:
    """min(max(x, alpha), beta); NaN stays NaN."""
    return np.minimum(np.maximum(x, scalar(alpha)), scalar(beta))


def op_threshold(x: Array, alpha: Number) -> Array:
    """max(x, alpha)."""
    x = np.asarray(x)
    return np.maximum(x, x.dtype.type(scalar(alpha)))


def op_identity(x: Array) -> Array:
    """x."""
    return np.array(x)


def op_select(cond: Array, a: Array, b: Array) -> Array:
    """a where cond, else b; the three broadcast."""
    return np.where(cond, a, b)


def op_cast(x: Array, dtype: str) -> Array:
    """Values of x as another dtype.

    Float to integer rounds toward zero, clamps to the range and turns NaN to 0: the documents
    do not say, and NumPy leaves it undefined. Integer to integer wraps, as NumPy does in
    coremltools' value inference. Anything but zero is true. To fp16: see the declared output.
    """
    x = np.asarray(x)
    if dtype in FLOATS:
        return x.astype(np.float64)
    if dtype == "bool":
        return x != 0
    return saturate(x, dtype) if x.dtype.kind == "f" else x.astype(NUMPY[dtype])

"""Activations, softmax included."""

from __future__ import annotations

import math

import numpy as np

from ._args import Array, Number, along, scalar

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def op_relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def op_relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return np.minimum(np.maximum(x, 0), 6)


def op_leaky_relu(x: Array, alpha: Number) -> Array:
    """x where x >= 0, else alpha · x."""
    return np.where(np.less(x, 0), scalar(alpha) * x, x)


def op_prelu(x: Array, alpha: Array) -> Array:
    """x where x > 0, else alpha[c] · x; c is axis 1."""
    return np.where(np.greater(x, 0), x, along(alpha, 1, np.ndim(x)) * x)


def op_thresholded_relu(x: Array, alpha: Number) -> Array:
    """x where x >= alpha, else 0."""
    return np.where(np.less(x, scalar(alpha)), 0.0, x)


def op_clamped_relu(x: Array, alpha: Number, beta: Number) -> Array:
    """min(x, beta) where x >= 0, else min(alpha · x, beta)."""
    return np.minimum(np.where(np.less(x, 0), scalar(alpha) * x, x), scalar(beta))


def op_elu(x: Array, alpha: Number) -> Array:
    """x where x > 0, else alpha · (e^x - 1)."""
    return np.where(np.greater(x, 0), x, scalar(alpha) * np.expm1(np.minimum(x, 0)))


def op_sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    small = np.exp(-np.abs(x))
    return np.where(np.less(x, 0), small / (1.0 + small), 1.0 / (1.0 + small))


def op_silu(x: Array) -> Array:
    """x · sigmoid(x)."""
    return np.asarray(x * op_sigmoid(x))


def op_gelu(x: Array, mode: str = "EXACT") -> Array:
    """0.5 x (1 + erf(x / sqrt 2)), or its tanh or sigmoid approximation."""
    x = np.asarray(x)
    if mode == "TANH_APPROXIMATION":
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
        return x * op_sigmoid(2.0 * inner)  # 0.5 (1 + tanh u) = sigmoid(2 u), without cancellation
    if mode == "SIGMOID_APPROXIMATION":
        return x * op_sigmoid(1.702 * x)
    if mode != "EXACT":
        raise ValueError(f"gelu: unknown mode {mode}")
    return 0.5 * x * _erfc(-x / math.sqrt(2.0))


def op_sigmoid_hard(x: Array, alpha: Number, beta: Number) -> Array:
    """min(max(alpha · x + beta, 0), 1)."""
    return np.minimum(np.maximum(scalar(alpha) * x + scalar(beta), 0.0), 1.0)


def op_linear_activation(x: Array, alpha: Number, beta: Number) -> Array:
    """alpha · x + beta."""
    return np.asarray(scalar(alpha) * x + scalar(beta))


def op_scaled_tanh(x: Array, alpha: Number, beta: Number) -> Array:
    """alpha · tanh(beta · x)."""
    return scalar(alpha) * np.tanh(scalar(beta) * x)


def op_softplus(x: Array) -> Array:
    """ln(1 + e^x)."""
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def op_softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha[c] · ln(1 + e^(beta[c] x)); c is axis 1."""
    rank = np.ndim(x)
    return along(alpha, 1, rank) * op_softplus(along(beta, 1, rank) * x)


def op_softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return np.asarray(x / (1.0 + np.abs(x)))


def op_softmax(x: Array, axis: Number = -1) -> Array:
    """e^x over its sum along one axis."""
    axis = int(scalar(axis))
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def named(name: str, x: Array) -> Array:
    """An activation of a recurrent layer by name.

    The two with parameters take the defaults of Core ML's older network layers; nothing states
    them for MIL.
    """
    match name.lower():
        case "sigmoid":
            return op_sigmoid(x)
        case "tanh":
            return np.tanh(x)
        case "relu":
            return op_relu(x)
        case "linear":
            return x
        case "hard_sigmoid" | "sigmoid_hard":
            return op_sigmoid_hard(x, 0.2, 0.5)
        case "scaled_tanh":
            return op_scaled_tanh(x, 1.7159, 2.0 / 3.0)
    raise ValueError(f"unknown activation {name}")

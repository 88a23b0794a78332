"""Normalisations."""

from __future__ import annotations

import numpy as np

from ._args import Array, Ints, Number, along, axes_of, scalar


def op_batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    *,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Number = 1e-5,
) -> Array:
    """gamma[c] (x - mean[c]) / sqrt(variance[c] + epsilon) + beta[c]; c is axis 1."""
    rank = np.ndim(x)
    scale = 1.0 / np.sqrt(along(variance, 1, rank) + scalar(epsilon))
    out = (x - along(mean, 1, rank)) * scale
    return _affine(out, gamma, beta)


def _affine(x: Array, gamma: Array | None, beta: Array | None) -> Array:
    x = x if gamma is None else x * along(gamma, 1, x.ndim)
    return np.asarray(x if beta is None else x + along(beta, 1, x.ndim))


def _standard(x: Array, axes: tuple[int, ...], epsilon: Number) -> Array:
    """(x - mean) / sqrt(var + epsilon), var over n."""
    centred = x - np.mean(x, axis=axes, keepdims=True)
    variance = np.mean(centred**2, axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + scalar(epsilon)))


def op_instance_norm(
    x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: Number = 1e-5
) -> Array:
    """Each channel of each sample normalised over its spatial dimensions, then affine."""
    x = np.asarray(x)
    return _affine(_standard(x, tuple(range(2, x.ndim)), epsilon), gamma, beta)


def op_layer_norm(
    x: Array,
    axes: Ints | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Number = 1e-5,
) -> Array:
    """Normalised over `axes` (all when absent), then affine with gamma, beta of x.shape[axes]."""
    x = np.asarray(x)
    where = axes_of(axes, x.ndim)
    shape = [n if i in where else 1 for i, n in enumerate(x.shape)]
    out = _standard(x, where, epsilon)
    out = out if gamma is None else out * np.reshape(gamma, shape)
    return out if beta is None else out + np.reshape(beta, shape)


def op_l2_norm(x: Array, epsilon: Number = 1e-6) -> Array:
    """x / sqrt(sum x² + epsilon), the sum over the last three dimensions."""
    total = np.sum(np.square(x), axis=(-3, -2, -1), keepdims=True)
    return np.asarray(x / np.sqrt(total + scalar(epsilon)))


def op_local_response_norm(
    x: Array, size: Number, alpha: Number = 1e-4, beta: Number = 0.75, k: Number = 1.0
) -> Array:
    """x / (k + alpha / size · sum x²)^beta over `size` neighbouring channels.

    An even window reaches one further back than forward, as in PyTorch; the text does not say.
    """
    x = np.asarray(x)
    width = int(scalar(size))
    amounts = [(0, 0), (width // 2, (width - 1) // 2), *([(0, 0)] * (x.ndim - 2))]
    squares = np.pad(x**2, amounts)
    total = np.add.reduce([squares[:, i : i + x.shape[1]] for i in range(width)])
    return np.asarray(x / (scalar(k) + scalar(alpha) / width * total) ** scalar(beta))

"""Matrix products and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ._args import Array, scalar, wide
from .activation import op_softmax


def _result(product: Array, like: Array) -> Array:
    like = np.asarray(like)
    return product if like.dtype.kind == "f" else product.astype(like.dtype)


def op_linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [*, I], weight [O, I], bias [O] to [*, O]: x · weightᵀ + bias."""
    product = wide(x) @ wide(weight).T
    return _result(product if bias is None else product + wide(bias), x)


def op_matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    """NumPy's matmul; the last two dimensions may be swapped, which a vector ignores."""
    a, b = wide(x), wide(y)
    a = np.swapaxes(a, -1, -2) if scalar(transpose_x) and a.ndim > 1 else a
    b = np.swapaxes(b, -1, -2) if scalar(transpose_y) and b.ndim > 1 else b
    return _result(np.asarray(np.matmul(a, b)), x)


def op_einsum(values: Sequence[Array], equation: str) -> Array:
    """The sum of products that the equation spells."""
    product = np.einsum(equation.replace(" ", ""), *(wide(v) for v in values))
    return _result(np.asarray(product), values[0])


def op_scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None
) -> Array:
    """softmax(Q Kᵀ / sqrt E + mask) V; a boolean mask keeps where it is true."""
    scores = query @ np.swapaxes(key, -1, -2) / math.sqrt(np.shape(query)[-1])
    if attn_mask is not None:
        mask = np.asarray(attn_mask)
        scores = scores + (np.where(mask, 0.0, -np.inf) if mask.dtype == np.bool_ else mask)
    return np.asarray(op_softmax(scores, -1) @ value)

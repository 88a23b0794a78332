"""Layers made of operations, written so that the device takes them.

Reductions are followed by ``pow`` and not by ``sqrt`` or ``rsqrt`` (ane_facts D 42), products are
not squared by ``square`` (D 43), masks add -40 000 and not minus infinity (D 36), attention is
written out because the device ignores its mask (D 34), a convolution has no bias (D 32) and no
weights of run time (D 38), and nothing is repeated with ``tile`` (D 37).

Weights are tensors or arrays. An ``axis`` of channels is -1 for ``[..., C]`` and 1 for the device's
own ``[N, C, 1, S]``.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from milane.errors import InvalidArgumentError
from milane.graph import ops
from milane.graph.body import body_of
from milane.graph.tensor import Operand, Tensor

MASKED = -40000.0  # exp() of it is 0 in fp16, and its sum with a score is finite


def layer_norm(
    x: Tensor,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Tensor:
    """``(x - mean) / √(variance + epsilon) · gamma + beta``, along one axis.

    ``gamma`` and ``beta`` are ``[C]``, and may be known at run time only.
    """
    centred = x - ops.reduce_mean(x, axes=[axis], keep_dims=True)
    variance = ops.reduce_mean(centred * centred, axes=[axis], keep_dims=True)
    y = centred * ops.pow(variance + epsilon, -0.5)
    y = y if gamma is None else y * _along(x, gamma, axis)
    return y if beta is None else y + _along(x, beta, axis)


def rms_norm(
    x: Tensor,
    gamma: Operand | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    safe: bool = False,
) -> Tensor:
    """``x / √(mean(x²) + epsilon) · gamma``, along one axis; ``gamma`` is ``[C]``.

    In fp16 the squares overflow where ``|x|`` passes 255. With ``safe`` the elements are divided by
    the largest one first, as tmc/apple's GenRMSNorm does, but so that ``epsilon`` still counts as
    it is: ``u / √(mean(u²) + epsilon / m²)`` for ``u = x / m``, ``m = max(max |x|, √epsilon)``.
    """
    if safe:
        root = math.sqrt(epsilon)
        largest = ops.reduce_max(ops.abs(x), axes=[axis], keep_dims=True)
        largest = ops.maximum(largest, root)
        x, share = x / largest, root / largest
        mean = ops.reduce_mean(x * x, axes=[axis], keep_dims=True) + share * share
    else:
        mean = ops.reduce_mean(x * x, axes=[axis], keep_dims=True) + epsilon
    y = x * ops.pow(mean, -0.5)
    return y if gamma is None else y * _along(x, gamma, axis)


def gelu(x: Tensor, *, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``x Φ(x)``, or its approximation by ``tanh``: ``x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``.

    The latter is written out: the device's own is not known to be right (ane_facts D3).
    """
    if approximate == "none":
        return ops.gelu(x, mode="EXACT")
    inner = x * (x * x * 0.044715 + 1.0) * math.sqrt(2 / math.pi)
    return x * 0.5 * (ops.tanh(inner) + 1.0)


def silu(x: Tensor) -> Tensor:
    """``x · sigmoid(x)``."""
    return ops.silu(x)


def linear(x: Tensor, weight: Operand, bias: Operand | None = None, *, axis: int = -1) -> Tensor:
    """``weight · x + bias`` along an axis: ``weight`` is ``[out, in]``, ``bias`` ``[out]``.

    Along the last axis it is a product of matrices, and so it is along axis 1, where ``x`` is
    ``[N, in, H, W]``; there an array, or a weight of the graph of ``[out, in, 1, 1]``, makes it a
    convolution of one pixel, the device's best form.

    Raises:
        InvalidArgumentError: another axis.
    """
    if axis % x.rank == x.rank - 1 and axis != 1:
        y = ops.matmul(x, weight, transpose_y=True)
    elif axis == 1 and x.rank == 4:
        y = _pixels(x, weight)
    else:
        raise InvalidArgumentError(
            f"linear: expected axis -1, or 1 for x of rank 4, got {axis} for rank {x.rank}"
        )
    return y if bias is None else y + _along(y, bias, axis)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool = False,
    mask: Operand | None = None,
    scale: float | None = None,
) -> Tensor:
    """``softmax(query · keyᵀ · scale + mask) · value``, written out.

    ``query`` is ``[N, heads, S, D]``, ``key`` and ``value`` ``[N, kv_heads, S', D]``: each of them
    serves ``heads / kv_heads`` heads that follow each other, without being repeated. ``scale`` is
    ``1 / √D`` by default. ``causal`` hides the keys behind the query's own place, counted so that
    the last query sees all. ``mask`` is added, and broadcasts to ``[N, heads, S, S']``; an array of
    bool hides where it is False, and nothing below -40 000 is added.

    Raises:
        InvalidArgumentError: other ranks, or heads that the key's do not divide.
    """
    if not query.rank == key.rank == value.rank == 4:
        raise InvalidArgumentError(
            f"attention: expected tensors of rank 4, got {query!r}, {key!r} and {value!r}"
        )
    n, heads, length, depth = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    if heads % kv_heads:
        raise InvalidArgumentError(
            f"attention: expected heads divisible by those of key, got {heads} and {kv_heads}"
        )
    rows = heads // kv_heads * length
    shared = heads != kv_heads
    query = query * (depth**-0.5 if scale is None else scale)
    if shared:
        query = ops.reshape(query, (n, kv_heads, rows, depth))
    scores = ops.matmul(query, key, transpose_y=True)
    hidden = _mask(mask, length, keys, causal=causal)
    if shared and hidden:
        scores = ops.reshape(scores, (n, heads, length, keys))
    for part in hidden:
        scores = scores + part
    weights = ops.softmax(scores, axis=-1)
    if shared and hidden:
        weights = ops.reshape(weights, (n, kv_heads, rows, keys))
    y = ops.matmul(weights, value)
    return ops.reshape(y, (n, heads, length, y.shape[-1])) if shared else y


def rope_tables(
    length: int, depth: int, *, base: float = 10000.0, start: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cosines and sines ``[length, depth / 2]`` of ``position · base^(-2 i / depth)``.

    ``depth`` is a head's size, ``start`` the first position (RoFormer, section 3.2.2).
    """
    angles = np.outer(np.arange(start, start + length), base ** (-np.arange(0, depth, 2) / depth))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rope(x: Tensor, cos: Operand, sin: Operand, *, interleaved: bool = False) -> Tensor:
    """Pairs of ``x`` ``[..., S, D]`` turned by angles: rotary positions.

    ``cos`` and ``sin`` are ``[S, D / 2]``, as :func:`rope_tables` gives them, or broadcast to it.
    A pair is an element of the first half and one of the second, as in Llama's published weights
    for transformers; with ``interleaved`` two neighbours, as in RoFormer and llama2.c.
    """
    depth = x.shape[-1]
    half = depth // 2
    if interleaved:
        # Neighbours are swapped by a product with a matrix of 0, 1 and -1.
        turn, both = np.zeros((depth, depth)), np.zeros((half, depth))
        for i in range(half):
            turn[2 * i, 2 * i + 1], turn[2 * i + 1, 2 * i] = 1.0, -1.0
            both[i, 2 * i : 2 * i + 2] = 1.0
        return x * _repeated(cos, both) + ops.matmul(x, turn) * _repeated(sin, both)
    first, second = ops.split(x, axis=-1, num_splits=2)
    return ops.concat([first * cos - second * sin, second * cos + first * sin], axis=-1)


def swiglu(x: Tensor, gate: Operand, up: Operand, down: Operand, *, axis: int = -1) -> Tensor:
    """``down · (silu(gate · x) × (up · x))``: the feed-forward part of Llama, as :func:`linear`.

    ``gate`` and ``up`` are ``[hidden, in]``, ``down`` ``[out, hidden]``.
    """
    return linear(silu(linear(x, gate, axis=axis)) * linear(x, up, axis=axis), down, axis=axis)


def embedding(indices: Operand, table: Operand, *, gather: bool = False) -> Tensor:
    """The rows of ``table`` ``[V, D]`` at these places: ``indices`` ``[...]`` gives ``[..., D]``.

    Written as a product with rows of 0 and 1, because some chips refuse ``gather``; it has
    ``V`` elements for each place. Whole numbers are fp16 on the device: beyond 2 048 rows look
    them up outside of the program, or with ``gather=True`` where that is taken.
    """
    if gather:
        return ops.gather(table, indices, axis=0)
    rows = table.shape[0] if isinstance(table, Tensor) else np.shape(table)[0]
    if not isinstance(indices, Tensor):
        chosen: Operand = np.eye(rows)[np.asarray(indices)]
        return ops.matmul(chosen, table)
    dtype = table.dtype if isinstance(table, Tensor) else "fp16"
    return ops.matmul(_one_hot(indices, rows, dtype), table)


def cross_entropy(
    logits: Tensor,
    targets: Operand,
    *,
    axis: int = -1,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """``log Σ exp(logits) - logits[target]`` for each place, along an axis of classes.

    ``targets`` are the classes' numbers, int32 in the shape of ``logits`` without that axis, or
    floats, the share of each class, in the shape of ``logits``. The classes' axis stays with size
    1; the mean and the sum over the places leave every axis with size 1.

    Raises:
        InvalidArgumentError: targets of another shape.
    """
    axis %= logits.rank
    size = logits.shape[axis]
    shares = _shares(logits, targets, axis)
    given = shares.shape if isinstance(shares, Tensor) else np.shape(shares)
    if tuple(given) != logits.shape:
        raise InvalidArgumentError(
            f"cross_entropy: expected targets for logits {list(logits.shape)} with {size} classes "
            f"along axis {axis}, got {list(given)}"
        )
    whole = ops.reduce_log_sum_exp(logits, axes=[axis], keep_dims=True)
    loss = ops.reduce_sum((whole - logits) * shares, axes=[axis], keep_dims=True)
    if reduction == "none":
        return loss
    every = list(range(logits.rank))
    if reduction == "sum":
        return ops.reduce_sum(loss, axes=every, keep_dims=True)
    return ops.reduce_mean(loss, axes=every, keep_dims=True)


def _along(x: Tensor, vector: Operand, axis: int) -> Operand:
    """A vector that broadcasts along an axis of ``x``: ``[C, 1, 1]`` for axis 1 of four."""
    behind = x.rank - 1 - axis % x.rank
    if not behind:
        return vector
    if isinstance(vector, Tensor):
        return vector if vector.rank > 1 else ops.reshape(vector, (-1, *[1] * behind))
    return np.reshape(np.asarray(vector), (-1, *[1] * behind))


def _pixels(x: Tensor, weight: Operand) -> Tensor:
    """``[N, in, H, W]`` to ``[N, out, H, W]``."""
    if not isinstance(weight, Tensor):
        array = np.asarray(weight)
        return ops.conv(x, array.reshape(*array.shape[:2], 1, 1))
    out, channels = weight.shape[:2]
    stored = weight.node is None and not any(weight is given for given in weight._body.inputs)
    if stored and weight.rank == 4:
        return ops.conv(x, weight)
    n, _, height, width = x.shape
    flat = ops.reshape(x, (n, channels, height * width))
    product = ops.matmul(ops.reshape(weight, (1, out, channels)), flat)
    return ops.reshape(product, (n, out, height, width))


def _mask(mask: Operand | None, length: int, keys: int, *, causal: bool) -> list[Operand]:
    """What is added to the scores: at most one array, and a tensor."""
    added: list[Operand] = []
    fixed = np.zeros((1, 1))
    if causal:
        later = np.triu(np.ones((length, keys), bool), 1 + keys - length)
        fixed = np.where(later, MASKED, 0.0)
    if isinstance(mask, Tensor):
        added.append(mask)
    elif mask is not None:
        array = np.asarray(mask)
        other = np.where(array, 0.0, MASKED) if array.dtype == bool else array
        fixed = np.maximum(fixed + other, MASKED)
    return [fixed, *added] if fixed.any() else added


def _repeated(table: Operand, both: npt.NDArray[np.float64]) -> Operand:
    """``[S, D / 2]`` with every column twice."""
    if isinstance(table, Tensor):
        return ops.matmul(table, both)
    return np.repeat(np.asarray(table), 2, axis=-1)


def _one_hot(indices: Tensor, size: int, dtype: str) -> Tensor:
    """Rows of 0 and 1; the device has no code for one_hot."""
    body = body_of("one_hot", {"indices": indices})
    column = ops.expand_dims(indices, axes=[indices.rank])
    steps = body.op("range_1d", end=size, start=0, step=1)
    return ops.cast(ops.equal(column, steps), dtype=dtype)


def _shares(logits: Tensor, targets: Operand, axis: int) -> Operand:
    size, last = logits.shape[axis], axis == logits.rank - 1
    if isinstance(targets, Tensor):
        if targets.dtype in ("fp16", "fp32"):
            return targets
        chosen = _one_hot(targets, size, logits.dtype)
        order = [*range(axis), logits.rank - 1, *range(axis, logits.rank - 1)]
        return chosen if last else ops.transpose(chosen, order)
    array: npt.NDArray[Any] = np.asarray(targets)
    if array.dtype.kind not in "iu" or array.shape == logits.shape:
        return array
    if array.size and not 0 <= array.min() <= array.max() < size:
        raise InvalidArgumentError(
            f"cross_entropy: expected targets in [0, {size}), got {array.min()} to {array.max()}"
        )
    return np.asarray(np.moveaxis(np.eye(size)[array], -1, axis))

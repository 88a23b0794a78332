"""Reductions, running sums, sorting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._args import Array, Ints, Number, axes_of, scalar, wide
from .values import NUMPY, saturate


def _reduce(
    function: Callable[..., Array], x: Array, axes: Ints | None, keep_dims: bool | Array
) -> Array:
    """Reduce over some axes, all when absent; integer results are truncated to their dtype."""
    x = np.asarray(x)
    where = axes_of(axes, x.ndim)
    result = np.asarray(function(wide(x), axis=where, keepdims=bool(scalar(keep_dims))))
    if x.dtype.kind == "f":
        return result.astype(np.float64)
    name = x.dtype.name
    return saturate(result, name) if result.dtype.kind == "f" else result.astype(x.dtype)


def op_reduce_sum(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """sum x."""
    return _reduce(np.sum, x, axes, keep_dims)


def op_reduce_mean(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """sum x / n."""
    return _reduce(np.mean, x, axes, keep_dims)


def op_reduce_max(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """Largest element; NaN if there is one."""
    return _reduce(np.max, x, axes, keep_dims)


def op_reduce_min(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """Smallest element; NaN if there is one."""
    return _reduce(np.min, x, axes, keep_dims)


def op_reduce_prod(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """Product of the elements."""
    return _reduce(np.prod, x, axes, keep_dims)


def op_reduce_sum_square(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """sum x²."""
    return _reduce(lambda a, **how: np.sum(a * a, **how), x, axes, keep_dims)


def op_reduce_l1_norm(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """sum |x|."""
    return _reduce(lambda a, **how: np.sum(np.abs(a), **how), x, axes, keep_dims)


def op_reduce_l2_norm(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """sqrt(sum x²)."""
    return _reduce(lambda a, **how: np.sqrt(np.sum(a * a, **how)), x, axes, keep_dims)


def op_reduce_log_sum(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """ln(sum x)."""
    return _reduce(lambda a, **how: np.log(np.sum(a, **how)), x, axes, keep_dims)


def op_reduce_log_sum_exp(x: Array, axes: Ints | None = None, keep_dims: bool = False) -> Array:
    """ln(sum e^x), shifted by the largest element so that it does not overflow."""

    def log_sum_exp(a: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
        top = np.max(a, axis=axis, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        total = np.log(np.sum(np.exp(a - top), axis=axis, keepdims=True)) + top
        return total if keepdims else np.squeeze(total, axis=axis)

    return _reduce(log_sum_exp, x, axes, keep_dims)


def _arg(
    function: Callable[..., Array], x: Array, axis: Number, keep_dims: bool, output_dtype: str
) -> Array:
    found = function(x, axis=int(scalar(axis)), keepdims=bool(scalar(keep_dims)))
    return np.asarray(found).astype(NUMPY[output_dtype])


def op_reduce_argmax(
    x: Array, axis: Number = -1, keep_dims: bool = False, output_dtype: str = "int32"
) -> Array:
    """Index of the largest element of one axis; the first of equals (which one is left open)."""
    return _arg(np.argmax, x, axis, keep_dims, output_dtype)


def op_reduce_argmin(
    x: Array, axis: Number = -1, keep_dims: bool = False, output_dtype: str = "int32"
) -> Array:
    """Index of the smallest element of one axis; the first of equals."""
    return _arg(np.argmin, x, axis, keep_dims, output_dtype)


def op_cumsum(x: Array, axis: Number = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    """Running sum along an axis.

    exclusive: the element itself is left out, so the first is 0. reverse: from the end.
    """
    x = np.asarray(x)
    axis = int(scalar(axis)) % x.ndim
    turned = np.flip(wide(x), axis) if scalar(reverse) else wide(x)
    total = np.cumsum(turned, axis=axis)
    if scalar(exclusive):
        kept = np.delete(total, -1, axis=axis)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis=axis)), kept], axis=axis)
    total = np.flip(total, axis) if scalar(reverse) else total
    return total.astype(x.dtype)


def _order(x: Array, axis: int, ascending: bool) -> Array:
    """Stable order: equal elements keep their places, in both directions."""
    keys = wide(x)
    return np.argsort(keys if ascending else -keys, axis=axis, kind="stable")


def op_argsort(x: Array, axis: Number = -1, ascending: bool = False) -> Array:
    """Indices that sort an axis, largest first unless ascending; int32."""
    order = _order(np.asarray(x), int(scalar(axis)), bool(scalar(ascending)))
    return order.astype(np.int32)


def op_topk(
    x: Array,
    *,
    k: Number = 1,
    axis: Number = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...]:
    """The k largest (smallest when ascending) of an axis, in order, and their indices.

    k = -1 takes all. Without `sort` any order is allowed; this one is sorted all the same.
    """
    x = np.asarray(x)
    axis, count = int(scalar(axis)), int(scalar(k))
    order = _order(x, axis, bool(scalar(ascending)))
    order = np.take(order, range(order.shape[axis] if count < 0 else count), axis=axis)
    values = np.take_along_axis(x, order, axis)
    if not scalar(return_indices):
        return (values,)
    return values, order.astype(NUMPY[output_indices_dtype])

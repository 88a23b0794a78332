"""Slices, gathers and scatters."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ._args import Array, Ints, Number, flags, ints, scalar, wide
from .values import saturate


def _slices(
    shape: tuple[int, ...],
    begin: Ints,
    end: Ints,
    *,
    stride: Ints | None,
    begin_mask: Any,
    end_mask: Any,
    squeeze_mask: Any,
) -> tuple[slice | int, ...]:
    """One slice or index per dimension, with Python's meaning of negative and absent ends.

    The text says that a masked begin is 0 and a masked end the size; for a negative stride
    coremltools takes them as absent, which alone makes sense: that is done here.
    """
    rank = len(shape)
    steps = [1] * rank if stride is None else ints(stride)
    found: list[slice | int] = []
    masks = zip(
        ints(begin),
        ints(end),
        steps,
        flags(begin_mask, rank),
        flags(end_mask, rank),
        flags(squeeze_mask, rank),
        strict=True,
    )
    for first, last, step, no_begin, no_end, single in masks:
        if single:
            found.append(0 if no_begin else first)
        else:
            found.append(slice(None if no_begin else first, None if no_end else last, step))
    return tuple(found)


def op_slice_by_index(
    x: Array,
    begin: Ints,
    end: Ints,
    *,
    stride: Ints | None = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:
    """x[begin:end:stride, ...]; a squeezed dimension takes the element at begin and is gone."""
    x = np.asarray(x)
    where = _slices(
        x.shape,
        begin,
        end,
        stride=stride,
        begin_mask=begin_mask,
        end_mask=end_mask,
        squeeze_mask=squeeze_mask,
    )
    return np.array(x[where])


def op_slice_update(
    x: Array,
    update: Array,
    begin: Ints,
    end: Ints,
    *,
    stride: Ints | None = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:
    """x with the slice that slice_by_index would take replaced by `update`."""
    out = np.array(x)
    where = _slices(
        out.shape,
        begin,
        end,
        stride=stride,
        begin_mask=begin_mask,
        end_mask=end_mask,
        squeeze_mask=squeeze_mask,
    )
    out[where] = np.asarray(update).reshape(out[where].shape)
    return out


def op_slice_by_size(x: Array, begin: Ints, size: Ints) -> Array:
    """x[begin : begin + size]; size -1 takes the rest, a negative begin counts from the end."""
    x = np.asarray(x)
    where = []
    for first, count, length in zip(ints(begin), ints(size), x.shape, strict=True):
        start = first + length if first < 0 else first
        where.append(slice(start, length if count == -1 else start + count))
    return np.array(x[tuple(where)])


def _positive(indices: Array, size: int) -> Array:
    """Indices with negative ones counted from the end (ios15 and ios16 allow them)."""
    wide_indices = np.asarray(indices).astype(np.int64)
    return np.where(wide_indices < 0, wide_indices + size, wide_indices)


def op_gather(
    x: Array,
    indices: Array,
    axis: Number = 0,
    batch_dims: Number = 0,
    validate_indices: bool = False,
) -> Array:
    """x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis+1:]."""
    x = np.asarray(x)
    axis, batch = int(scalar(axis)) % x.ndim, int(scalar(batch_dims))
    index = _positive(indices, x.shape[axis])
    lead = x.shape[:batch]
    rows = [np.take(x[b], index[b], axis=axis - batch) for b in np.ndindex(*lead)]
    return np.stack(rows).reshape(lead + rows[0].shape)


def op_gather_along_axis(
    x: Array, indices: Array, axis: Number = 0, validate_indices: bool = False
) -> Array:
    """out[.., i, ..] = x[.., indices[.., i, ..], ..]; the shape is that of indices.

    The other dimensions of indices may be smaller than those of x.
    """
    x = np.asarray(x)
    axis = int(scalar(axis)) % x.ndim
    places = list(np.indices(np.shape(indices), sparse=True))
    places[axis] = _positive(indices, x.shape[axis])
    return x[tuple(places)]


def op_gather_nd(
    x: Array, indices: Array, batch_dims: Number = 0, validate_indices: bool = False
) -> Array:
    """out[b, k] = x[b][indices[b, k]]: the last dimension of indices is a position in x[b]."""
    x, indices = np.asarray(x), np.asarray(indices)
    batch = int(scalar(batch_dims))
    depth = indices.shape[-1]
    lead = x.shape[:batch]
    rows = []
    for b in np.ndindex(*lead):
        parts = [_positive(indices[b][..., d], x.shape[batch + d]) for d in range(depth)]
        rows.append(x[b][tuple(parts)])
    return np.stack(rows).reshape(lead + rows[0].shape)


def _update(out: Array, where: Any, value: Array, mode: str) -> None:
    """Apply one update in place, so that repeated positions act one after the other."""
    old = out[where]
    match mode:
        case "update":
            new = value
        case "add":
            new = old + value
        case "sub":
            new = old - value
        case "mul":
            new = old * value
        case "div":
            new = old / value
        case "max":
            new = np.maximum(old, value)
        case "min":
            new = np.minimum(old, value)
        case _:
            raise ValueError(f"unknown scatter mode {mode}")
    out[where] = new


def _back(result: Array, data: Array) -> Array:
    """Integers were computed in float64 for `div`; return them to their dtype."""
    if data.dtype.kind == "f":
        return result
    return (
        saturate(result, data.dtype.name) if result.dtype.kind == "f" else result.astype(data.dtype)
    )


def _working(data: Array, mode: str) -> Array:
    return data.astype(np.float64) if mode == "div" else np.array(wide(data))


def op_scatter(
    data: Array,
    indices: Array,
    updates: Array,
    *,
    axis: Number = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Array:
    """data with updates[.., i, ..] applied at indices[i] of one axis, in order of i."""
    data = np.asarray(data)
    axis = int(scalar(axis)) % data.ndim
    out = _working(data, mode)
    places = _positive(indices, data.shape[axis])
    moved = np.moveaxis(out, axis, 0)
    rank = np.ndim(indices)
    source = np.moveaxis(wide(updates), range(axis, axis + rank), range(rank))
    for i in np.ndindex(*np.shape(indices)):
        _update(moved, int(places[i]), source[i], mode)
    return _back(out, data)


def op_scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    *,
    axis: Number = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Array:
    """data with updates[p] applied at p, its coordinate on `axis` replaced by indices[p]."""
    data = np.asarray(data)
    axis = int(scalar(axis)) % data.ndim
    out = _working(data, mode)
    places = _positive(indices, data.shape[axis])
    source = wide(updates)
    for p in np.ndindex(*np.shape(indices)):
        _update(out, (*p[:axis], int(places[p]), *p[axis + 1 :]), source[p], mode)
    return _back(out, data)


def op_scatter_nd(
    data: Array,
    indices: Array,
    updates: Array,
    mode: str = "add",
    validate_indices: bool = False,
) -> Array:
    """data with updates[k] applied at data[indices[k]], in row-major order of k."""
    data, indices = np.asarray(data), np.asarray(indices)
    out = _working(data, mode)
    source = wide(updates)
    for k in product(*(range(n) for n in indices.shape[:-1])):
        place = tuple(int(_positive(i, data.shape[d])) for d, i in enumerate(indices[k]))
        _update(out, place, source[k], mode)
    return _back(out, data)

"""Arrays as callers hand them over, and the parts they speak of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, InvalidArgumentError

Array = npt.NDArray[Any]
# What picks a part of a NumPy array without a copy.
Index = int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]
Rows = SupportsIndex | slice | Sequence[int] | npt.NDArray[np.integer[Any]]


def as_array(values: npt.ArrayLike) -> Array:
    """An array over the same memory where there is one."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)  # type: ignore[arg-type]
    return np.asarray(values)


def channel_count(view: Array) -> int:
    """Its third axis from the end; axes that are not there count as 1."""
    return view.shape[-3] if view.ndim > 2 else 1


def fitted(values: Array, shape: tuple[int, ...]) -> Array:
    """The same values in this shape: they may lack leading axes of length 1, or an H of 1 between
    C and S, or have one axis with all elements in row-major order.

    Raises:
        InvalidArgumentError: they do not fit.
    """
    if values.shape == shape:
        return values
    if values.size == math.prod(shape):
        lacks_leading = values.shape == shape[len(shape) - values.ndim :]
        lacks_height = shape[-2:-1] == (1,) and values.shape == (*shape[-3:-2], shape[-1])
        if values.ndim <= 1 or lacks_leading or lacks_height:
            return values.reshape(shape)
    raise InvalidArgumentError(f"write: expected shape {list(shape)}, got {list(values.shape)}")


def reshaped_view(view: Array, shape: tuple[int, ...]) -> Array:
    """A view of the same elements in another shape, which may differ in axes of length 1.

    Raises:
        InvalidArgumentError: it differs in others.
    """
    if [d for d in view.shape if d != 1] != [d for d in shape if d != 1]:
        raise InvalidArgumentError(f"copy: expected shape {list(shape)}, got {list(view.shape)}")
    return view.reshape(shape)


def integers(values: npt.ArrayLike, what: str) -> npt.NDArray[np.int64]:
    """Places in an array.

    Raises:
        DTypeError: something else than integers.
    """
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise DTypeError(f"{what}: expected integers, got {array.dtype}")
    return array.astype(np.int64)


def row_numbers(rows: Rows, height: int) -> npt.NDArray[np.int64]:
    """Rows counted from 0; negative ones count from the end.

    Raises:
        InvalidArgumentError: there is no such row.
        DTypeError: something else than integers.
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(height), dtype=np.int64)
    if isinstance(rows, int) and 0 <= rows < height:  # the usual case, at a third of the time
        return np.array([rows], np.int64)
    chosen = integers(rows, "rows").reshape(-1)  # type: ignore[arg-type]
    chosen = np.where(chosen < 0, chosen + height, chosen)
    outside = chosen[(chosen < 0) | (chosen >= height)]
    if outside.size:
        raise InvalidArgumentError(f"rows: expected rows in [0, {height}), got {outside[0]}")
    return chosen

"""Reading of arguments that arrive as arrays, lists or Python numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Number = float | int | Array
Ints = int | Sequence[int] | Array


def scalar(value: Any) -> Any:
    """Return the one element of a scalar, a rank 0 array or an array of one."""
    return np.asarray(value).reshape(-1)[0].item()


def ints(value: Any) -> list[int]:
    """Return a list of integers; a scalar gives one."""
    return [int(v) for v in np.asarray(value).reshape(-1)]


def flags(value: Any, rank: int) -> list[bool]:
    """Return `rank` booleans, all False when the argument is absent."""
    return [False] * rank if value is None else [bool(v) for v in np.asarray(value).reshape(-1)]


def axes_of(value: Any, rank: int) -> tuple[int, ...]:
    """Return non-negative axes; all of them when the argument is absent."""
    if value is None:
        return tuple(range(rank))
    return tuple(a % rank for a in ints(value))


def wide(array: Any) -> Array:
    """Return float64 for floats and int64 for integers, so that nothing overflows on the way."""
    array = np.asarray(array)
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def along(vector: Any, axis: int, rank: int) -> Array:
    """Return a vector shaped to broadcast along one axis; a scalar as it is."""
    vector = np.asarray(vector)
    if vector.ndim == 0:
        return vector
    shape = [1] * rank
    shape[axis] = vector.size
    return vector.reshape(shape)

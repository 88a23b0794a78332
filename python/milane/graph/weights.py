"""Where the constants of a graph stand in its weight files."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from milane._core import mil as _mil
from milane.blob import BlobDataType
from milane.errors import InvalidArgumentError
from milane.mil.program import DEFAULT_WEIGHT_PATH

if TYPE_CHECKING:
    from milane.graph.body import Body

_ALIGNMENT = 64  # of records and of data (MIL Blob Storage v2, docs/blob.md)


@functools.cache
def _bits(dtype: str) -> int:
    return BlobDataType.of(dtype).bits


class WeightFiles:
    """Gives every stored constant of a graph its file and offset, and keeps the arrays."""

    def __init__(self) -> None:
        self.data: dict[str, npt.NDArray[Any]] = {}
        self._ends: dict[str, int] = {}
        self._names: set[str] = set()

    def fresh(self, body: Body, base: str) -> str:
        """A name that is free in the function and among all weights of the graph."""
        name = body.fresh(base)
        while name in self._names:
            name = body.fresh(base)
        return name

    def place(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int],
        array: npt.NDArray[Any] | None,
        path: str | None,
    ) -> _mil.Value:
        """The constant's reference: the next free record of the file, by default weight.bin."""
        if name in self._names:
            raise InvalidArgumentError(
                f"expected a name of its own for each weight of the graph, got {name!r} again"
            )
        type = _mil.Type.tensor(dtype, shape)
        path = DEFAULT_WEIGHT_PATH if path is None else path
        offset = self._ends.get(path, _ALIGNMENT)
        count = math.prod(shape)
        nbytes = -(-count * _bits(dtype) // 8)
        value = _mil.Value.blob(type, path, offset)
        data_end = offset + _ALIGNMENT + nbytes
        self._ends[path] = -(-data_end // _ALIGNMENT) * _ALIGNMENT
        self._names.add(name)
        if array is not None:
            self.data[name] = array
        return value

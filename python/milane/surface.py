"""Memory with a layout, seen through zero-copy NumPy views."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import TensorLayout
from .arrays import (
    Array,
    Index,
    Rows,
    as_array,
    channel_count,
    fitted,
    integers,
    reshaped_view,
    row_numbers,
)
from .closing import Closing
from .errors import ClosedError, DTypeError, InvalidArgumentError


class Surface(_core.ExportsArray, Closing):
    """Memory that a backend reads and writes: an IOSurface on the Mac, host memory elsewhere.

    Rows (the last axis) are padded to 64 bytes, as the device lays tensors out, so ``array`` is
    usually strided. The memory lives as long as the surface or any view of it: NumPy's, DLPack's
    (``torch.from_dlpack(surface)``) and the buffer protocol's (``memoryview(surface)``) all share
    it. A context manager.

    Args:
        shape: positive dimensions, at most five.
        dtype: a MIL name (``"fp16"``) or a NumPy dtype.

    Raises:
        UnsupportedLayoutError: more than five axes, a dimension below 1, or a sub-byte dtype.
    """

    __slots__ = ("__weakref__", "_held", "_view")

    def __init__(self, shape: Sequence[int], dtype: npt.DTypeLike | str = "fp16") -> None:
        layout = TensorLayout(list(shape), dtype)
        self._held: _core.Surface | None = _core.make_surface(layout)
        self._view: Array | None = None

    @classmethod
    def _wrap(cls, native: _core.Surface) -> Surface:
        surface = cls.__new__(cls)
        surface._held = native
        surface._view = None
        return surface

    @classmethod
    def from_f32(
        cls,
        values: npt.ArrayLike,
        shape: Sequence[int] | None = None,
        dtype: npt.DTypeLike | str = "fp16",
    ) -> Surface:
        """Return a new surface that holds ``values``.

        Shapes: ``shape``, or that of ``values``; they have the same number of elements, in
        row-major order. dtypes: as :meth:`write`.

        Raises:
            InvalidArgumentError: another number of elements.
            DTypeError: an element type that would lose meaning.
            UnsupportedLayoutError: a shape that no surface has.
        """
        array = as_array(values)
        wanted = array.shape if shape is None else tuple(int(d) for d in shape)
        if array.size != math.prod(wanted):
            raise InvalidArgumentError(
                f"from_f32: expected {math.prod(wanted)} values for {list(wanted)}, "
                f"got {array.size}"
            )
        surface = cls(wanted, dtype)
        surface._store(surface.array, array.reshape(wanted))
        return surface

    @property
    def _native(self) -> _core.Surface:
        if self._held is None:
            raise ClosedError("surface: expected an open surface, got a closed one")
        return self._held

    @property
    def layout(self) -> TensorLayout:
        """Shape, dtype and strides in bytes."""
        return self._native.layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's dimensions."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of ``array``."""
        return self.array.dtype

    @property
    def handle(self) -> int:
        """The IOSurfaceRef on the Mac, the base address elsewhere."""
        return self._native.handle

    @property
    def array(self) -> Array:
        """A writable NumPy view of the surface, no copy; it keeps the memory alive."""
        if self._view is None:
            self._view = self._native.view()
        return self._view

    def write(self, values: npt.ArrayLike, channel: int | None = None) -> None:
        """Copy ``values`` in, converting straight into the strided rows.

        Shapes: the surface's; leading axes of length 1 may be left out, ``[C, S]`` will do for
        ``[1, C, 1, S]``, and so will one axis with all elements in row-major order. With
        ``channel``, only the channels from there on are written, as many as ``values`` has:
        ``[C', S]`` or ``[C', H, W]``.

        dtypes: any float for a float surface (float32 to fp16 is vectorised; rounding to nearest
        even, to infinity beyond the largest), integers that fit for an integer one, bool for bool.
        Anything with ``__array__`` or ``__dlpack__`` is taken without a copy of its own. More
        than a quarter of a million numbers are shared out among :func:`milane.num_threads` threads.

        Raises:
            InvalidArgumentError: another shape, no such channels, or integers that do not fit.
            DTypeError: an element type that would lose meaning (floats into an integer surface).
            ClosedError: the surface is closed.
        """
        array = as_array(values)
        part = self.array
        if channel is not None:
            of_one = part.size // channel_count(part)
            part = self._channel_range(channel, max(1, array.size // of_one))
        self._store(part, array)

    def write_rows(self, rows: Rows, values: npt.ArrayLike) -> None:
        """Copy ``values`` into some rows; the cost does not depend on how many others there are.

        A row is the last axis; rows count through all axes before it, in row-major order. ``rows``
        is a number, a slice, or numbers in any order; of equal ones the last is what stays.

        Shapes: ``[len(rows), W]``, or ``[W]`` for a single row. dtypes: as :meth:`write`.

        Raises:
            InvalidArgumentError: another shape, no such row, or integers that do not fit.
            DTypeError: an element type that would lose meaning, or rows that are no integers.
            ClosedError: the surface is closed.
        """
        view = self.array
        width = view.shape[-1] if view.ndim else 1
        chosen = row_numbers(rows, view.size // width)
        runs = fitted(as_array(values), (len(chosen), width))
        self._write_runs(chosen * width, runs)

    def write_at(self, offset: int, values: npt.ArrayLike) -> None:
        """Copy ``values`` to the elements from ``offset`` on, counted in row-major order.

        Shapes: a number, or any shape, read in row-major order. dtypes: as :meth:`write`.

        Raises:
            InvalidArgumentError: the values do not lie inside of the surface.
            DTypeError: an element type that would lose meaning.
            ClosedError: the surface is closed.
        """
        start = np.array([operator.index(offset)], np.int64)
        self._write_runs(start, self._numbers(values).reshape(1, -1))

    def write_sparse(self, indices: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Copy ``values[i]`` to element ``indices[i]``, counted in row-major order.

        Shapes: ``[n]`` and ``[n]``; of equal indices the last is what stays. dtypes: as
        :meth:`write`.

        Raises:
            InvalidArgumentError: no such element, or another number of values.
            DTypeError: an element type that would lose meaning, or indices that are no integers.
            ClosedError: the surface is closed.
        """
        starts = integers(indices, "write_sparse").reshape(-1)
        array = self._numbers(values).reshape(-1)
        if array.size != starts.size:
            raise InvalidArgumentError(
                f"write_sparse: expected {starts.size} values, got {array.size}"
            )
        self._write_runs(starts, array.reshape(-1, 1))

    def copy_from(
        self,
        source: Surface,
        channel: int = 0,
        source_channel: int = 0,
        channels: int | None = None,
    ) -> None:
        """Copy channels of another surface, from ``source_channel`` on, to ``channel`` and on.

        ``channels`` is how many: by default all that the source has from there on. The dtypes are
        equal, and so are all axes but the channels.

        Raises:
            InvalidArgumentError: other dimensions, or no such channels.
            DTypeError: another dtype.
            ClosedError: one of the surfaces is closed.
        """
        part = source._channel_range(source_channel, channels)
        self._native.copy_from(
            self._channel_range(channel, channel_count(part)), source._native, part
        )

    def fill(self, value: npt.ArrayLike) -> None:
        """Set every element to ``value``, one number. Integers are taken by float surfaces, too.

        Raises:
            DTypeError: a float into an integer surface, or no number.
            InvalidArgumentError: an integer that does not fit, or more than one number.
            ClosedError: the surface is closed.
        """
        number = self._numbers(value)
        if number.size != 1:
            raise InvalidArgumentError(f"fill: expected one number, got {number.size}")
        self._store(self.array, np.broadcast_to(number.reshape(()), self.shape))

    def read(
        self,
        channel: int | None = None,
        channels: int | None = None,
        *,
        out: Array | None = None,
    ) -> Array:
        """Return a new dense array with the surface's content, in its own dtype.

        With ``channel``, only ``channels`` channels from there on (default: all of them). With
        ``out``, an array of the result's shape and dtype, that is filled and returned instead.

        Raises:
            InvalidArgumentError: no such channels; ``out`` has another shape, or is read-only.
            DTypeError: ``out`` has another dtype.
            ClosedError: the surface is closed.
        """
        part = self._part_to_read(channel, channels)
        return self._read_into(part, part.dtype, out, "read")

    def read_f32(
        self,
        channel: int | None = None,
        channels: int | None = None,
        *,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return a new dense float32 array with the surface's content, whatever its dtype.

        With ``channel``, only ``channels`` channels from there on (default: all of them). With
        ``out``, a float32 array of the result's shape, that is filled and returned instead.

        Raises:
            InvalidArgumentError: no such channels; ``out`` has another shape, or is read-only.
            DTypeError: ``out`` has another dtype.
            ClosedError: the surface is closed.
        """
        part = self._part_to_read(channel, channels)
        return self._read_into(part, np.dtype(np.float32), out, "read_f32")

    @contextmanager
    def lock(self, write: bool = False) -> Iterator[npt.NDArray[np.float32]]:
        """Return a context that gives the content as a float32 array, and takes it back at the end.

        Without ``write`` the array is read-only: writing to it raises a ValueError. With ``write``
        it is converted into the surface when the block ends, but not when an exception ends it.

        Raises:
            DTypeError: ``write`` for a surface that holds no floats.
            ClosedError: the surface is closed.
        """
        if write and self.dtype.kind != "f":
            raise DTypeError(
                f"lock: expected a float surface to write to, got {self.layout.dtype}\n"
                "hint: use array or write()"
            )
        array = self.read_f32()
        array.flags.writeable = write
        yield array
        if write:
            array.flags.writeable = False  # what is written later would be lost
            self._store(self.array, array)

    def close(self) -> None:
        """Let go of the memory, which stays for views of it and kernels that use it; idempotent."""
        self._held = self._view = None

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._held is None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.array.dtype:
            if copy is False:
                raise ValueError(f"expected a copy to be allowed for {dtype}, got copy=False")
            return self.array.astype(dtype)
        return self.array.copy() if copy else self.array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __repr__(self) -> str:
        if self.closed:
            return "Surface(closed)"
        return f"Surface(shape={self.shape}, dtype='{self.layout.dtype}')"

    def _store(self, part: Array, values: Array) -> None:
        """Writes into a part of the view, in the shapes that :meth:`write` takes."""
        self._native.write(part, fitted(values, part.shape))

    def _read_into(self, part: Array, dtype: np.dtype[Any], out: Array | None, what: str) -> Array:
        if out is None:
            out = np.empty(part.shape, dtype)
        elif out.dtype != dtype:
            raise DTypeError(f"{what}: expected out of {dtype}, got {out.dtype}")
        elif out.shape != part.shape or not out.flags.writeable:
            found = list(out.shape) if out.flags.writeable else "a read-only array"
            raise InvalidArgumentError(
                f"{what}: expected out to be writable, of shape {list(part.shape)}, got {found}"
            )
        self._native.read_into(part, out)
        return out

    def _write_runs(self, starts: npt.NDArray[np.int64], runs: Array) -> None:
        """Writes runs[i] to the elements from starts[i] on, counted in row-major order."""
        self._native.write_runs(starts, runs)

    def _copy(self, source: Surface) -> None:
        """Copies all of another surface; axes of length 1 may differ."""
        part = reshaped_view(source.array, self.shape)
        self._native.copy_from(self.array, source._native, part)

    def _whole(self, what: str) -> _core.Surface:
        """The native surface, for ``what`` needs all of its bytes."""
        return self._native

    def _at(self, index: Index) -> Array:
        """A part of the view by basic indexing: integers, slices and ``...``."""
        wanted = index if isinstance(index, tuple) else (index,)
        if not all(i is ... or isinstance(i, int | np.integer | slice) for i in wanted):
            raise InvalidArgumentError(f"surface: expected integers and slices, got {index!r}")
        # The ellipsis makes a view of what would be a number.
        part: Array = self.array[wanted if ... in wanted else (*wanted, ...)]
        return part

    def _numbers(self, values: npt.ArrayLike) -> Array:
        """An array; Python's integers are what the surface holds."""
        array = as_array(values)
        if isinstance(values, int | list | tuple) and array.dtype.kind in "iu":
            if self.dtype.kind == "f":
                return array.astype(np.float64)
            if self.dtype.kind == "u" and array.size and array.min() >= 0:
                return array.astype(np.uint64)
        return array

    def _channel_range(self, first: int, count: int | None) -> Array:
        """A view of some channels."""
        view = self.array
        total, first = channel_count(view), operator.index(first)
        count = total - first if count is None else operator.index(count)
        if first < 0 or count < 1 or first + count > total:
            raise InvalidArgumentError(
                f"channel: expected a range within the {total} channels of {list(view.shape)}, "
                f"got {count} from {first} on"
            )
        return view[..., first : first + count, :, :] if view.ndim > 2 else view

    def _part_to_read(self, channel: int | None, channels: int | None) -> Array:
        if channel is None and channels is None:
            return self.array
        return self._channel_range(channel or 0, channels)

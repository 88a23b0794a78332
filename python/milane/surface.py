"""Memory with a layout, seen through zero-copy NumPy views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._core import TensorLayout


class Surface:
    """Memory that a backend reads and writes: an IOSurface on the Mac, host memory elsewhere.

    Rows (the last axis) are padded to 64 bytes, as the device lays tensors out, so ``array`` is
    usually strided. The memory lives as long as the surface or any view of it.

    Args:
        shape: positive dimensions, at most five.
        dtype: a MIL name (``"fp16"``) or a NumPy dtype.

    Raises:
        UnsupportedLayoutError: more than five axes, a dimension below 1, or a sub-byte dtype.
    """

    __slots__ = ("_native", "_view")

    def __init__(self, shape: Sequence[int], dtype: npt.DTypeLike | str = "fp16") -> None:
        layout = TensorLayout(list(shape), dtype)
        self._native = _core.make_surface(layout)
        self._view: npt.NDArray[Any] | None = None

    @classmethod
    def _wrap(cls, native: _core.Surface) -> Surface:
        surface = cls.__new__(cls)
        surface._native = native
        surface._view = None
        return surface

    @property
    def layout(self) -> TensorLayout:
        """Shape, dtype and strides in bytes."""
        return self._native.layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's dimensions."""
        return self._native.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of ``array``."""
        return self.array.dtype

    @property
    def handle(self) -> int:
        """The IOSurfaceRef on the Mac, the base address elsewhere."""
        return self._native.handle

    @property
    def array(self) -> npt.NDArray[Any]:
        """A writable NumPy view of the surface, no copy; it keeps the memory alive."""
        if self._view is None:
            self._view = self._native.view()
        return self._view

    def write(self, values: npt.ArrayLike) -> None:
        """Copy ``values`` in, converting straight into the strided rows.

        Shapes: exactly the surface's. dtypes: any float for a float surface (float32 to fp16 is
        vectorised; rounding to nearest even, to infinity beyond the largest), integers that fit
        for an integer one, bool for bool. A non-contiguous array, or one of the other byte order,
        is taken as well, through a dense copy.

        Raises:
            InvalidArgumentError: another shape, or integers that do not fit.
            DTypeError: an element type that would lose meaning (floats into an integer surface).
        """
        array = np.asarray(values)
        if array.dtype == np.float32 and array.dtype.isnative:
            self._native.write(array)  # converted natively: nothing below concerns it
            return
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        with np.errstate(over="ignore"):  # beyond the largest half lies infinity, by IEEE 754
            self._native.write(array)

    def read(self) -> npt.NDArray[Any]:
        """Return a new dense array with the surface's content, in its own dtype."""
        return self._native.read()

    def read_f32(self) -> npt.NDArray[np.float32]:
        """Return a new dense float32 array with the surface's content, whatever its dtype."""
        return self._native.read_f32()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.array.dtype:
            if copy is False:
                raise ValueError(f"expected a copy to be allowed for {dtype}, got copy=False")
            return self.array.astype(dtype)
        return self.array.copy() if copy else self.array

    def __repr__(self) -> str:
        return f"Surface(shape={self.shape}, dtype='{self.layout.dtype}')"

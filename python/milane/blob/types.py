"""The element types of a blob file, and how NumPy holds them."""

from __future__ import annotations

import enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from milane._core import blob as _native
from milane.errors import DTypeError, InvalidArgumentError

Array = npt.NDArray[Any]


class BlobDataType(enum.IntEnum):
    """The element types of a blob file, with the codes of Apple's reader (BlobDataType.hpp)."""

    FLOAT16 = 1
    FLOAT32 = 2
    UINT8 = 3
    INT8 = 4
    BFLOAT16 = 5
    INT16 = 6
    UINT16 = 7
    INT4 = 8
    UINT1 = 9
    UINT2 = 10
    UINT4 = 11
    UINT3 = 12
    UINT6 = 13
    INT32 = 14
    UINT32 = 15
    FLOAT8_E4M3FN = 16
    FLOAT8_E5M2 = 17

    @property
    def mil_name(self) -> str:
        """The type's name in MIL text, such as ``"fp16"``."""
        return _native.DTYPES[self.value - 1]

    @property
    def bits(self) -> int:
        """Bits per element in the file."""
        return _BITS[self]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type that holds one element: raw bits for bf16 and fp8, and a byte for a
        sub-byte element."""
        return np.dtype(_NUMPY.get(self, "<u1"))

    @classmethod
    def of(cls, dtype: BlobDataType | int | str) -> BlobDataType:
        """The type of that code or MIL name.

        Raises:
            DTypeError: there is no such code or name.
        """
        try:
            if isinstance(dtype, str):
                return cls(_native.DTYPES.index(dtype) + 1)
            return cls(dtype)
        except ValueError:
            known = ", ".join(_native.DTYPES)
            message = f"blob: expected a code from 1 to 17 or one of {known}, got {dtype!r}"
            raise DTypeError(message) from None


_BITS: Final = dict(
    zip(BlobDataType, (16, 32, 8, 8, 16, 16, 16, 4, 1, 2, 4, 3, 6, 32, 32, 8, 8), strict=True)
)
_NUMPY: Final = {
    BlobDataType.FLOAT16: "<f2",
    BlobDataType.FLOAT32: "<f4",
    BlobDataType.BFLOAT16: "<u2",
    BlobDataType.INT8: "<i1",
    BlobDataType.INT4: "<i1",
    BlobDataType.INT16: "<i2",
    BlobDataType.UINT16: "<u2",
    BlobDataType.INT32: "<i4",
    BlobDataType.UINT32: "<u4",
}
_FROM_NUMPY: Final = {
    "float16": BlobDataType.FLOAT16,
    "float32": BlobDataType.FLOAT32,
    "uint8": BlobDataType.UINT8,
    "int8": BlobDataType.INT8,
    "int16": BlobDataType.INT16,
    "uint16": BlobDataType.UINT16,
    "int32": BlobDataType.INT32,
    "uint32": BlobDataType.UINT32,
}
_FLOATS: Final = {BlobDataType.FLOAT16, BlobDataType.FLOAT32}
_RAW: Final = {
    BlobDataType.BFLOAT16,
    BlobDataType.FLOAT8_E4M3FN,
    BlobDataType.FLOAT8_E5M2,
}


def type_of_array(values: Array) -> BlobDataType:
    """The type that an array is stored as when none is named.

    Raises:
        DTypeError: the format has no such type.
    """
    try:
        return _FROM_NUMPY[values.dtype.name]
    except KeyError:
        known = ", ".join(_FROM_NUMPY)
        hint = 'name the type to store, such as dtype="fp16"'
        error = DTypeError(
            f"BlobWriter.add: expected an array of {known}, got {values.dtype.name}\nhint: {hint}"
        )
        error.hint = hint
        raise error from None


def check_values(values: Array, kind: BlobDataType) -> None:
    """Nothing, if elements of this type can be made of these values.

    Raises:
        DTypeError: the array does not hold such elements.
        InvalidArgumentError: an integer does not fit.
    """
    if kind in _FLOATS:
        if values.dtype.kind not in "fiub":
            raise DTypeError(
                f"BlobWriter.add: expected numbers for {kind.mil_name}, got {values.dtype}"
            )
    elif kind in _RAW:
        if values.dtype != kind.numpy:
            raise DTypeError(
                f"BlobWriter.add: expected {kind.numpy.name} bits for {kind.mil_name}, "
                f"got {values.dtype}"
            )
    elif values.dtype.kind not in "iub":
        raise DTypeError(
            f"BlobWriter.add: expected integers for {kind.mil_name}, got {values.dtype}"
        )
    elif kind.bits < 8 or values.dtype != kind.numpy:
        _check_range(values, kind)


def _check_range(values: Array, kind: BlobDataType) -> None:
    signed = kind.mil_name.startswith("int")
    low = -(1 << (kind.bits - 1)) if signed else 0
    high = (1 << (kind.bits - signed)) - 1
    if values.size == 0:
        return
    least, most = int(values.min()), int(values.max())
    if least < low or most > high:
        raise InvalidArgumentError(
            f"BlobWriter.add: expected {kind.mil_name} values in [{low}, {high}], "
            f"got {least if least < low else most}"
        )


def rounds_natively(values: Array, kind: BlobDataType) -> bool:
    """Whether these are floats that the native writer turns into halves on their way."""
    return kind is BlobDataType.FLOAT16 and values.dtype == np.dtype("<f4")


def converted(values: Array, kind: BlobDataType) -> Array:
    """The elements as the file wants them, 1-D and little-endian, one per element; no copy where
    they are that already. Floats that the native writer rounds stay floats."""
    held = values.dtype if rounds_natively(values, kind) else kind.numpy
    with np.errstate(over="ignore"):  # beyond the largest half lies infinity, by IEEE 754
        return np.require(values, held, ["C", "A"]).reshape(-1)

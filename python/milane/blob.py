"""Weight files: MIL Blob Storage v2, read, checked and written.

A MIL program names a weight by file and offset, ``BLOBFILE(path = …, offset = …)``; the offset is
that of a 64-byte record header, which the data follows. ``docs/blob.md`` describes the format and
its sources. Files written here are read by Apple's reader, and the other way round.
"""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from milane._core import blob as _native
from milane._core.blob import BlobFile, Problem, Record
from milane.errors import DTypeError, InvalidArgumentError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

__all__ = [
    "BlobDataType",
    "BlobFile",
    "BlobWriter",
    "Problem",
    "Record",
    "build_fp16_blob",
    "build_weight_blob",
    "check",
    "read",
]


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

# How NumPy holds one element. bf16 and fp8 are raw bits; a sub-byte element takes a byte.
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


def read(source: str | os.PathLike[str] | Buffer) -> BlobFile:
    """A blob file: a path is mapped, not loaded; bytes are used in place.

    Nothing is validated yet. ``file.record_at(offset)`` validates one record, ``file.records()``
    all of them; a record's ``array`` is a 1-D read-only view that keeps the file mapped (fp16 as
    float16, bf16 as uint16, fp8 as uint8), or a new int8 or uint8 array for a sub-byte type.

    Raises:
        ModelFileError: the path names no readable regular file.
        InvalidArgumentError: ``source`` is neither a path nor contiguous bytes.
    """
    if isinstance(source, str | os.PathLike):
        return BlobFile.open(os.fspath(source))
    return BlobFile.over(source)


def check(source: str | os.PathLike[str] | Buffer) -> list[Problem]:
    """Everything that is wrong with a blob file; an empty list for a sound one.

    Each problem has ``record`` (its index, or None), ``offset``, ``expected`` and ``got``, and
    prints as ``record 3 at offset 4160: expected …, got …``. Padding and reserved fields of
    whole-byte records are not judged: coremltools 7 and older left them uninitialised.

    Raises:
        ModelFileError: the path names no readable regular file.
    """
    return read(source).check()


class BlobWriter:
    """Builds a blob file, in memory or (with ``path``) record by record on disk.

    Every ``add`` returns the index of the new record; ``offset(index)`` is what ``BLOBFILE`` wants.
    With a path, use it as a context manager: the file appears under its name when the block ends,
    complete, or not at all when the block raises.

    Raises:
        ModelFileError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._native = (
            _native.BlobWriter() if path is None else _native.BlobWriter.to_file(os.fspath(path))
        )
        self._streams = path is not None

    def add_float16(self, array: npt.ArrayLike) -> int:
        """The index of a new fp16 record with the array's elements in C order.

        Anything but float16 is rounded to the nearest, ties to even; beyond 65504 to infinity.
        """
        return self.add(array, BlobDataType.FLOAT16)

    def add_float32(self, array: npt.ArrayLike) -> int:
        """The index of a new fp32 record with the array's elements in C order."""
        return self.add(array, BlobDataType.FLOAT32)

    def add(self, array: npt.ArrayLike, dtype: BlobDataType | int | str | None = None) -> int:
        """The index of a new record with the array's elements in C order.

        ``dtype`` is the array's own by default. fp16 and fp32 convert from any numbers; integer
        types take integers that fit, one per element, which sub-byte types pack; bf16 takes uint16
        bits and fp8 takes uint8 bits.

        Raises:
            DTypeError: the format has no such type, or the array does not hold such elements.
            InvalidArgumentError: an integer does not fit.
        """
        values = np.asarray(array)
        kind = _dtype_of(values) if dtype is None else BlobDataType.of(dtype)
        held = _converted(values, kind)
        data: Buffer = held.view(np.uint8).data
        if kind.bits < 8:
            data = _native.pack(kind.mil_name, data)
        return self.add_raw(kind, data, count=held.size)

    def add_raw(
        self, dtype: BlobDataType | int | str, data: Buffer, count: int | None = None
    ) -> int:
        """The index of a new record with these bytes as they are.

        ``count`` is the number of elements, by default as many as the bytes hold. Sub-byte
        elements are one bit stream, lowest bit first.

        Raises:
            DTypeError: the format has no such type.
            InvalidArgumentError: the bytes are not those of ``count`` elements.
        """
        kind = BlobDataType.of(dtype)
        if count is None:
            count = memoryview(data).nbytes * 8 // kind.bits
        self._native.add(kind.mil_name, data, count)
        return self.count - 1

    @property
    def count(self) -> int:
        """The number of records."""
        return self._native.count

    def __len__(self) -> int:
        return self.count

    def offset(self, index: int) -> int:
        """The offset of a record, in bytes: the one ``BLOBFILE`` wants.

        Raises:
            InvalidArgumentError: there is no such record.
        """
        return self._native.offset(index)

    def data_offset(self, index: int) -> int:
        """The offset of a record's data, in bytes: 64 more than its record's."""
        return self._native.data_offset(index)

    def build(self) -> bytes:
        """The whole file, so far.

        Raises:
            UnsupportedError: this writer streams into a file.
        """
        return self._native.build()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes what was added so far to ``path``, which is replaced whole or not at all.

        Raises:
            ModelFileError: the file cannot be written.
            UnsupportedError: this writer streams into a file of its own.
        """
        self._native.save(os.fspath(path))

    def close(self) -> None:
        """Completes the file of a streaming writer and gives it its name.

        Raises:
            ModelFileError: the file cannot be written.
            ClosedError: it was closed before.
        """
        if self._streams:
            self._native.finish()

    def abort(self) -> None:
        """Drops everything; a streaming writer removes its temporary file. May be repeated."""
        self._native.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __repr__(self) -> str:
        return f"BlobWriter(count={self.count}, nbytes={self._native.nbytes})"


def build_weight_blob(weights: npt.ArrayLike) -> bytes:
    """A blob file with one fp16 record, the array in C order: record at 64, data at 128.

    Shapes: any; a convolution's or linear layer's weight is ``(out, in)`` or ``(out, in, kh, kw)``.
    Values are rounded to the nearest half, ties to even.
    """
    return build_fp16_blob(weights)


def build_fp16_blob(array: npt.ArrayLike) -> bytes:
    """A blob file with one fp16 record, the array in C order: record at 64, data at 128.

    Shapes: any. float16 is taken as it is, bit for bit; anything else is rounded to the nearest
    half, ties to even.
    """
    writer = BlobWriter()
    writer.add_float16(array)
    return writer.build()


def _dtype_of(values: npt.NDArray[Any]) -> BlobDataType:
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


def _converted(values: npt.NDArray[Any], kind: BlobDataType) -> npt.NDArray[Any]:
    """The elements as the file wants them, 1-D and little-endian, one per element."""
    held = np.dtype(_NUMPY.get(kind, "<u1"))
    if kind in _FLOATS:
        if values.dtype.kind not in "fiub":
            raise DTypeError(
                f"BlobWriter.add: expected numbers for {kind.mil_name}, got {values.dtype}"
            )
        with np.errstate(over="ignore"):  # beyond the largest half lies infinity, by IEEE 754
            return np.ascontiguousarray(values, dtype=held).reshape(-1)
    if kind in _RAW:
        if values.dtype != held:
            message = (
                f"BlobWriter.add: expected {held.name} bits for {kind.mil_name}, got {values.dtype}"
            )
            raise DTypeError(message)
        return np.ascontiguousarray(values).reshape(-1)
    if values.dtype.kind not in "iub":
        raise DTypeError(
            f"BlobWriter.add: expected integers for {kind.mil_name}, got {values.dtype}"
        )
    _check_range(values, kind)
    return np.ascontiguousarray(values, dtype=held).reshape(-1)


def _check_range(values: npt.NDArray[Any], kind: BlobDataType) -> None:
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

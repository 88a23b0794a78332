"""Writes blob files, in memory or record by record and piece by piece on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from milane._core import blob as _native
from milane.errors import InvalidArgumentError

from .types import Array, BlobDataType, check_values, converted, rounds_natively, type_of_array

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

# Elements that are converted at a time where the array is not in the file's type already.
PIECE: Final = 1 << 18


class BlobWriter:
    """Builds a blob file, in memory or (with ``path``) record by record on disk.

    Every ``add`` returns the index of the new record; ``offset(index)`` is what ``BLOBFILE`` wants.
    With a path, use it as a context manager: the file appears under its name when the block ends,
    complete, or not at all when the block raises. Nothing of it stays in memory, so the weights may
    be larger than that: a ``np.memmap`` is read piece by piece, and ``add_chunks`` takes arrays as
    they come.

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
        Infinities and NaN are kept.
        """
        return self.add(array, BlobDataType.FLOAT16)

    def add_float32(self, array: npt.ArrayLike) -> int:
        """The index of a new fp32 record with the array's elements in C order."""
        return self.add(array, BlobDataType.FLOAT32)

    def add(self, array: npt.ArrayLike, dtype: BlobDataType | int | str | None = None) -> int:
        """The index of a new record with the array's elements in C order.

        ``dtype`` is the array's own by default. fp16 and fp32 convert from any numbers; integer
        types take integers that fit, one per element, which sub-byte types pack; bf16 takes uint16
        bits and fp8 takes uint8 bits. A contiguous array of that type is written from where it is;
        any other is converted in pieces.

        Raises:
            DTypeError: the format has no such type, or the array does not hold such elements.
            InvalidArgumentError: an integer does not fit.
            ModelFileError: the file cannot be written.
        """
        values = np.asarray(array)
        kind = type_of_array(values) if dtype is None else BlobDataType.of(dtype)
        check_values(values, kind)
        if _is_whole(values, kind):
            self._add_whole(converted(values, kind), kind)
            return self.count - 1
        with _OpenRecord(self, kind, values.size) as record:
            for piece in _pieces(values, kind):
                record.put(piece)
        return self.count - 1

    def _add_whole(self, values: Array, kind: BlobDataType) -> None:
        if rounds_natively(values, kind):
            self._native.add_halves(values.data)
            return
        data: Buffer = values.view(np.uint8).data
        if kind.bits < 8:
            data = _native.pack(kind.mil_name, data)
        self._native.add(kind.mil_name, data, values.size)

    def add_chunks(
        self, dtype: BlobDataType | int | str, count: int, chunks: Iterable[npt.ArrayLike]
    ) -> int:
        """The index of a new record of ``count`` elements, which come in arrays of any sizes.

        The arrays follow each other in the file, each in C order, converted as ``add`` does. When
        anything fails on the way, the writer is aborted: its file never appears.

        Raises:
            DTypeError: the format has no such type, or an array does not hold such elements.
            InvalidArgumentError: the arrays hold more or fewer elements than ``count``, an integer
                does not fit, or the record would end beyond offset 2^63.
            ModelFileError: the file cannot be written.
        """
        kind = BlobDataType.of(dtype)
        with _OpenRecord(self, kind, count) as record:
            for chunk in chunks:
                values = np.asarray(chunk)
                check_values(values, kind)
                for piece in _pieces(values, kind):
                    record.put(piece)
        return self.count - 1

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


class _OpenRecord:
    """A record that takes its elements in pieces; whatever fails in between aborts the writer."""

    def __init__(self, writer: BlobWriter, kind: BlobDataType, count: int) -> None:
        self._native, self._kind, self._count = writer._native, kind, count
        self._got = 0
        # Sub-byte elements that do not fill a byte yet.
        self._rest = np.empty(0, kind.numpy)
        self._native.begin(kind.mil_name, count)

    def put(self, values: Array) -> None:
        """Appends elements that converted() gave."""
        self._got += values.size
        if self._got > self._count:
            raise self._wrong_count("more")
        if rounds_natively(values, self._kind):
            self._native.append_halves(values.data)
        elif self._kind.bits >= 8:
            self._native.append(values.view(np.uint8).data)
        else:
            stream = np.concatenate([self._rest, values]) if self._rest.size else values
            whole = stream.size // 8 * 8
            self._append_packed(stream[:whole])
            self._rest = stream[whole:]

    def _append_packed(self, values: Array) -> None:
        if values.size:
            self._native.append(_native.pack(self._kind.mil_name, values.view(np.uint8).data))

    def _wrong_count(self, got: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"BlobWriter.add_chunks: expected {self._count} elements in all, got {got}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._native.abort()
            return
        if self._got != self._count:
            self._native.abort()
            raise self._wrong_count(str(self._got))
        self._append_packed(self._rest)
        self._native.end()


def _is_whole(values: Array, kind: BlobDataType) -> bool:
    """Whether the elements are few, or need no copy."""
    if values.size <= PIECE:
        return True
    as_they_are = values.dtype == kind.numpy or rounds_natively(values, kind)
    return as_they_are and kind.bits >= 8 and values.flags.c_contiguous and values.flags.aligned


def _pieces(values: Array, kind: BlobDataType) -> Iterator[Array]:
    """The elements in C order, as the file wants them: at once where that takes no copy."""
    if _is_whole(values, kind):
        yield converted(values, kind)
    elif values.flags.c_contiguous and values.flags.aligned:
        flat = values.reshape(-1)
        for start in range(0, flat.size, PIECE):
            yield converted(flat[start : start + PIECE], kind)
    else:
        rows = max(1, PIECE * len(values) // values.size)
        for start in range(0, len(values), rows):
            slab = values[start : start + rows]
            yield from _pieces(slab[0] if rows == 1 and slab.ndim > 1 else slab, kind)

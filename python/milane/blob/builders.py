"""Whole blob files for the weights of common layers, each from one call.

Every array may be flat with its sizes given, or have its shape. Values are rounded to the nearest
half, ties to even; float16 is taken bit for bit; infinities and NaN are kept. The first record is
at 64, its data at 128.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from milane import half
from milane._core import blob as _native
from milane.errors import DTypeError, InvalidArgumentError

from . import tables
from .types import Array, BlobDataType, check_values, converted, rounds_natively

if TYPE_CHECKING:
    from typing_extensions import Buffer


def build_weight_blob(
    weights: npt.ArrayLike, out_ch: int | None = None, in_ch: int | None = None
) -> bytes:
    """A blob file with one fp16 record, the array in C order: record at 64, data at 128.

    Shapes: any; a convolution's or linear layer's weight is ``(out, in)`` or ``(out, in, kh, kw)``.
    With ``out_ch`` and ``in_ch``, a flat array of ``out_ch · in_ch`` values will do.

    Raises:
        InvalidArgumentError: the array is not one of ``out_ch`` and ``in_ch``.
        DTypeError: it does not hold numbers.
    """
    values = _numbers(weights, "build_weight_blob")
    if out_ch is not None or in_ch is not None:
        values = _matrix(values, out_ch, in_ch, "build_weight_blob")
    return _file(values)[0]


def build_weight_blob_v1(weights: npt.ArrayLike) -> bytes:
    """A blob file with one fp16 record of a flat weight, such as that of an RMSNorm.

    Shapes: ``(n,)``; axes of length 1 may surround it.

    Raises:
        InvalidArgumentError: more than one axis is longer than 1.
        DTypeError: the array does not hold numbers.
    """
    return _vector(weights, "build_weight_blob_v1")


def build_vector_weight_blob(weights: npt.ArrayLike) -> bytes:
    """A blob file with one fp16 record of a vector, such as a bias; as build_weight_blob_v1.

    Shapes: ``(n,)``; axes of length 1 may surround it.

    Raises:
        InvalidArgumentError: more than one axis is longer than 1.
        DTypeError: the array does not hold numbers.
    """
    return _vector(weights, "build_vector_weight_blob")


def build_transposed_weight_blob(
    weights: npt.ArrayLike, rows: int | None = None, cols: int | None = None
) -> bytes:
    """A blob file with one fp16 record, the transpose of a matrix.

    Shapes: ``(rows, cols)``, or flat with both sizes given; the record is ``(cols, rows)``.

    Raises:
        InvalidArgumentError: the array is no such matrix.
        DTypeError: it does not hold numbers.
    """
    where = "build_transposed_weight_blob"
    values = _numbers(weights, where)
    if rows is not None or cols is not None:
        values = _matrix(values, rows, cols, where)
    if values.ndim != 2:
        raise InvalidArgumentError(
            f"{where}: expected a matrix, or rows and cols, got shape {list(values.shape)}"
        )
    return _file(_transposed(values))[0]


def build_identity_weight_blob(channels: int) -> bytes:
    """A blob file with one fp16 record, the weight of a convolution that changes nothing.

    Shapes: the record is the identity ``(channels, channels)``.

    Raises:
        InvalidArgumentError: ``channels`` is below 1.
    """
    if channels < 1:
        raise InvalidArgumentError(
            f"build_identity_weight_blob: expected 1 channel or more, got {channels}"
        )
    return _file(np.eye(channels, dtype=np.float16))[0]


def build_fp16_blob(array: npt.ArrayLike) -> bytes:
    """A blob file with one fp16 record, the array in C order: record at 64, data at 128.

    Shapes: any.

    Raises:
        DTypeError: the array does not hold numbers.
    """
    return _file(_numbers(array, "build_fp16_blob"))[0]


def build_int8_blob(array: npt.ArrayLike) -> bytes:
    """A blob file with one int8 record, the array in C order: record at 64, data at 128.

    Shapes: any.

    Raises:
        DTypeError: the array does not hold integers.
        InvalidArgumentError: one of them lies outside [-128, 127].
    """
    return _file(np.asarray(array), kind=BlobDataType.INT8)[0]


@functools.lru_cache(maxsize=4)
def build_causal_mask_blob(seq: int, *, value: float = tables.MASKED) -> bytes:
    """A blob file with one fp16 record, the causal mask of ``tables.causal_mask``.

    Shapes: the record is ``[1, 1, seq, seq]``: 0 up to the diagonal, ``value`` above it. The last
    few masks are kept, so asking again costs nothing.

    Raises:
        InvalidArgumentError: ``seq`` is below 1.
    """
    return _file(tables.causal_mask(seq, value=value))[0]


def build_rope_cos_sin_blobs(
    seq: int, head_dim: int, theta: float = 10000.0, *, pairing: str = "interleaved"
) -> tuple[bytes, bytes]:
    """Two blob files, cosines and sines of ``tables.rope_tables``, one fp16 record each.

    Shapes: the records are ``[1, 1, seq, head_dim]``. With ``pairing="interleaved"`` (llama2.c)
    columns 2i and 2i + 1 hold the angle of pair i; with ``"half"`` (Hugging Face) columns i and
    i + head_dim / 2 do. Common thetas: 10 000 (the original), 500 000 (Llama 3).

    Raises:
        InvalidArgumentError: as ``rope_tables`` does.
    """
    cos, sin = tables.rope_tables(seq, head_dim, theta, pairing=pairing)
    return _file(cos)[0], _file(sin)[0]


def build_qkv_weight_blob(
    wq: npt.ArrayLike, wk: npt.ArrayLike, wv: npt.ArrayLike, dim: int | None = None
) -> tuple[bytes, dict[str, int]]:
    """A blob file with the three fp16 records of a fused QKV projection, and their offsets.

    The offsets, ``{"wq": 64, "wk": …, "wv": …}``, are those that BLOBFILE wants.

    Shapes: ``(out, dim)`` each; k and v may have fewer rows (grouped queries), the same for both.
    With ``dim`` flat arrays will do.

    Raises:
        InvalidArgumentError: the arrays are not such matrices.
        DTypeError: they do not hold numbers.
    """
    where = "build_qkv_weight_blob"
    q, k, v = (
        _projection(w, dim, f"{where}: {n}") for n, w in (("wq", wq), ("wk", wk), ("wv", wv))
    )
    if not q.shape[1] == k.shape[1] == v.shape[1] or k.shape != v.shape:
        shapes = ", ".join(str(list(w.shape)) for w in (q, k, v))
        raise InvalidArgumentError(
            f"{where}: expected wq (out, dim), wk and wv (kv, dim), got {shapes}"
        )
    data, offsets = _file(q, k, v)
    return data, dict(zip(("wq", "wk", "wv"), offsets, strict=True))


def build_ffn_up_weight_blob(
    w1: npt.ArrayLike, w3: npt.ArrayLike, hidden_dim: int | None = None, dim: int | None = None
) -> tuple[bytes, dict[str, int]]:
    """A blob file with the two fp16 records of a gated FFN's way up, and their offsets.

    The offsets, ``{"w1": 64, "w3": …}``, are those that BLOBFILE wants.

    Shapes: ``(hidden_dim, dim)`` both. With both sizes given flat arrays will do.

    Raises:
        InvalidArgumentError: the arrays are not such matrices.
        DTypeError: they do not hold numbers.
    """
    where = "build_ffn_up_weight_blob"
    pair = []
    for name, weights in (("w1", w1), ("w3", w3)):
        values = _numbers(weights, f"{where}: {name}")
        if hidden_dim is not None or dim is not None:
            values = _matrix(values, hidden_dim, dim, f"{where}: {name}")
        pair.append(values)
    one, three = pair
    if one.ndim < 2 or one.shape != three.shape:
        raise InvalidArgumentError(
            f"{where}: expected w1 and w3 of one shape (hidden_dim, dim), "
            f"got {list(one.shape)}, {list(three.shape)}"
        )
    data, offsets = _file(one, three)
    return data, dict(zip(("w1", "w3"), offsets, strict=True))


def _file(*arrays: Array, kind: BlobDataType = BlobDataType.FLOAT16) -> tuple[bytes, list[int]]:
    """A file with one record per array, and their offsets; the bytes are written once."""
    parts: list[tuple[str, Buffer, int, bool]] = []
    for array in arrays:
        check_values(array, kind)
        values = converted(array, kind)
        rounds = rounds_natively(values, kind)
        parts.append((kind.mil_name, values.view(np.uint8).data, values.size, rounds))
    return _native.assemble(parts)


def _numbers(weights: npt.ArrayLike, where: str) -> Array:
    values = np.asarray(weights)
    if values.dtype.kind not in "fiub":
        raise DTypeError(f"{where}: expected numbers, got {values.dtype}")
    return values


def _vector(weights: npt.ArrayLike, where: str) -> bytes:
    values = _numbers(weights, where)
    if sum(d != 1 for d in values.shape) > 1:
        raise InvalidArgumentError(f"{where}: expected a vector, got shape {list(values.shape)}")
    return _file(values)[0]


def _matrix(values: Array, rows: int | None, cols: int | None, where: str) -> Array:
    """The values as (rows, cols); a kernel of 1 x 1 may follow."""
    if rows is None or cols is None:
        raise InvalidArgumentError(f"{where}: expected both sizes or none, got {rows} and {cols}")
    if rows < 1 or cols < 1:
        raise InvalidArgumentError(f"{where}: expected positive sizes, got {rows} and {cols}")
    if values.ndim > 1 and values.shape[:2] == (rows, cols):
        return values
    if values.ndim != 1 or values.size != rows * cols:
        raise InvalidArgumentError(
            f"{where}: expected shape [{rows}, {cols}] or {rows * cols} values in one axis, "
            f"got shape {list(values.shape)}"
        )
    return values.reshape(rows, cols)


def _projection(weights: npt.ArrayLike, dim: int | None, where: str) -> Array:
    """The weights as (out, dim)."""
    values = _numbers(weights, where)
    if dim is not None and values.ndim == 1:
        if dim < 1 or values.size == 0 or values.size % dim:
            raise InvalidArgumentError(
                f"{where}: expected a multiple of dim = {dim} values, got {values.size}"
            )
        return values.reshape(-1, dim)
    if values.ndim < 2 or (dim is not None and values.shape[1] != dim):
        raise InvalidArgumentError(
            f"{where}: expected shape [out, {dim or 'dim'}], got {list(values.shape)}"
        )
    return values


_TILE = 64  # rows whose columns stay in the cache


def _transposed(values: Array) -> Array:
    """The transpose, contiguous, float32 as float16; by strips of rows, which is several times
    faster than at once."""
    rounds = values.dtype == np.dtype("<f4")  # rounded first, half as much is moved
    rows, cols = values.shape
    turned = np.empty((cols, rows), np.float16 if rounds else values.dtype)
    for start in range(0, rows, _TILE):
        strip = values[start : start + _TILE]
        turned[:, start : start + _TILE] = (half.f32_to_fp16(strip) if rounds else strip).T
    return turned

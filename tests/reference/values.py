"""How values are held: floats as float64, integers and booleans in their own NumPy dtype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .text import Blob, Value

Array = NDArray[np.generic]

NUMPY: dict[str, type[np.generic]] = {
    "bool": np.bool_,
    "fp16": np.float16,
    "fp32": np.float32,
    "fp64": np.float64,
    "int4": np.int8,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint1": np.uint8,
    "uint2": np.uint8,
    "uint3": np.uint8,
    "uint4": np.uint8,
    "uint6": np.uint8,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
}
FLOATS = frozenset({"fp16", "fp32", "fp64"})
SUB_BYTE = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}

# Record dtype numbers of blob storage v2.
_RECORD = {
    1: "fp16", 2: "fp32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1",
    10: "uint2", 11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip


def mil_dtype(array: Array) -> str:
    """Return the MIL name of an array's dtype."""
    kind, bits = array.dtype.kind, array.dtype.itemsize * 8
    if kind == "b":
        return "bool"
    return {"f": "fp", "i": "int", "u": "uint"}[kind] + str(bits)


def round_to(array: Array, dtype: str) -> Array:
    """Round floats to the nearest of a dtype (half to even) and hold them as float64 again."""
    with np.errstate(all="ignore"):
        return array.astype(NUMPY[dtype]).astype(np.float64)


def saturate(array: Array, dtype: str) -> Array:
    """Float to integer: round toward zero, clamp to the range, NaN to 0."""
    limits = np.iinfo(NUMPY[dtype])
    with np.errstate(all="ignore"):
        whole = np.nan_to_num(
            np.trunc(array.astype(np.float64)), nan=0.0, posinf=2e19, neginf=-2e19
        )
        inside = np.clip(whole, float(limits.min), float(limits.max))
    # float64 cannot hold the ends of int64, so those are put in by comparison.
    exact = np.where((inside > -(2.0**62)) & (inside < 2.0**62), inside, 0).astype(np.int64)
    low, high = whole <= float(limits.min), whole >= float(limits.max)
    result = exact.astype(NUMPY[dtype])
    result = np.where(low, NUMPY[dtype](limits.min), result)
    return np.where(high, NUMPY[dtype](limits.max), result).astype(NUMPY[dtype])


def hold(array: Array, dtype: str) -> Array:
    """Return a result as its declared dtype is held: float64, wrapped integers, or bool."""
    array = np.asarray(array)
    if dtype in FLOATS:
        return array.astype(np.float64)
    if dtype == "bool":
        return array.astype(np.bool_)
    if array.dtype.kind == "f":
        return saturate(array, dtype)
    return array.astype(NUMPY[dtype])


def unpack_bits(data: bytes | Array, bits: int, count: int, *, signed: bool = False) -> Array:
    """Return `count` unsigned (or two's complement) fields of a bit stream, lowest bit first."""
    raw = np.frombuffer(bytes(data), np.uint8) if isinstance(data, bytes) else np.asarray(data)
    stream = np.unpackbits(raw.astype(np.uint8).reshape(-1), bitorder="little")[: count * bits]
    weights = (1 << np.arange(bits)).astype(np.int64)
    fields = stream.reshape(count, bits).astype(np.int64) @ weights
    if signed:
        fields = np.where(fields >= 1 << (bits - 1), fields - (1 << bits), fields)
        return fields.astype(np.int8)
    return fields.astype(np.uint8)


def read_record(path: Path, offset: int) -> tuple[str, bytes]:
    """Return dtype name and bytes of the blob storage v2 record at an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(64)
        fields = np.frombuffer(head[8:32], "<u8")
        sentinel, kind = np.frombuffer(head[:8], "<u4")
        if int(sentinel) != 0xDEADBEEF:
            raise ValueError(f"{path}: no record at {offset}")
        file.seek(int(fields[1]))
        return _RECORD[int(kind)], file.read(int(fields[0]))


def _numbers(data: object, dtype: str) -> list[object]:
    """Flatten a nested literal into Python numbers."""
    if isinstance(data, list):
        flat: list[object] = []
        for item in data:
            flat.extend(_numbers(item, dtype))
        return flat
    text = str(data)
    if dtype == "bool":
        return [text == "true"]
    if dtype not in FLOATS:
        return [int(text, 0)]
    is_hex = "x" in text.lower()
    return [float.fromhex(text) if is_hex else float(text)]


def constant(value: Value, folder: Path | None) -> Array | str:
    """Return a literal as it is stored: rounded to its dtype, held as every value is."""
    dtype = value.type.dtype
    if dtype == "string":
        if not value.type.shape:
            return str(value.data)
        return np.array(value.data, dtype=np.str_)
    shape = tuple(int(d or 0) for d in value.type.shape)
    if isinstance(value.data, Blob):
        return _from_blob(value.data, dtype, shape, folder)
    numbers = _numbers(value.data, dtype)
    with np.errstate(all="ignore"):
        array = np.array(numbers, dtype=np.float64 if dtype in FLOATS else None)
        stored = array.astype(NUMPY[dtype]).reshape(shape)
    return hold(stored, dtype)


def _from_blob(blob: Blob, dtype: str, shape: tuple[int, ...], folder: Path | None) -> Array:
    if folder is None:
        raise ValueError("the program has a weight file: give its folder")
    path = folder / blob.path.replace("@model_path/", "")
    stored, data = read_record(path, blob.offset)
    if stored != dtype:
        raise ValueError(f"{path} at {blob.offset}: record holds {stored}, the text says {dtype}")
    count = int(np.prod(shape, dtype=np.int64))
    if dtype in SUB_BYTE:
        fields = unpack_bits(data, SUB_BYTE[dtype], count, signed=dtype == "int4")
        return fields.reshape(shape)
    array = np.frombuffer(data, NUMPY[dtype], count=count).reshape(shape)
    return hold(array, dtype)

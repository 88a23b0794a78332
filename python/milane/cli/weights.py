"""Which weight records a MIL text asks for, read off the text alone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Bits per element in MIL Blob Storage v2; a bool is a byte.
DTYPE_BITS = {
    **dict.fromkeys(("fp16", "bf16", "int16", "uint16"), 16),
    **dict.fromkeys(("fp32", "int32", "uint32"), 32),
    **dict.fromkeys(("fp64", "int64", "uint64"), 64),
    **dict.fromkeys(("bool", "int8", "uint8", "fp8e4m3fn", "fp8e5m2"), 8),
    **{"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6},
}

# `argument = tensor<fp16, [8, 4]>(BLOBFILE(path = ..., offset = ...))`, or `fp16(BLOBFILE(...))`;
# inside BLOBFILE, values with one level of parentheses.
_REFERENCE = re.compile(
    r"(?P<argument>\w+)\s*=\s*(?:tensor\s*<\s*(?P<dtype>\w+)\s*,\s*\[(?P<dims>[\d,\s]*)\]\s*>"
    r"|(?P<scalar>\w+))\s*\(\s*BLOBFILE\s*\((?P<inside>(?:[^()]|\([^()]*\))*)\)"
)
_PATH = re.compile(r"path\s*=[^\"]*\"([^\"]*)\"")
_OFFSET = re.compile(r"offset\s*=[^(]*\(\s*(\d+)\s*\)")
# The statement's result and operation: `w = const()[`, `w = constexpr_cast<ios17>(`.
_STATEMENT = re.compile(r"(\w+)\s*=\s*(\w+)\s*(?:<\w+>)?\s*\(")


@dataclass(frozen=True)
class BlobReference:
    """One BLOBFILE in a text: `name = op(... argument = dtype shape at path, offset)`."""

    name: str
    op: str
    argument: str
    dtype: str
    shape: tuple[int, ...]
    path: str
    offset: int

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes in the file: sub-byte elements are one bit stream."""
        return (self.count * DTYPE_BITS[self.dtype] + 7) // 8


def blob_references(text: str) -> list[BlobReference]:
    """Every BLOBFILE of a MIL text, in its order.

    Raises ValueError for a reference whose dtype, path or offset cannot be read.
    """
    references = []
    for match in _REFERENCE.finditer(text):
        path, offset = _PATH.search(match["inside"]), _OFFSET.search(match["inside"])
        dtype = match["dtype"] or match["scalar"]
        if path is None or offset is None or dtype not in DTYPE_BITS:
            line = text.count("\n", 0, match.start()) + 1
            raise ValueError(f"line {line}: expected BLOBFILE(path, offset), got {match[0][:120]}")
        name, op = _statement(text, match.start())
        dims = (match["dims"] or "").split(",")
        shape = tuple(int(d) for d in dims if d.strip())
        references.append(
            BlobReference(name, op, match["argument"], dtype, shape, path[1], int(offset[1]))
        )
    return references


def _statement(text: str, at: int) -> tuple[str, str]:
    """Result and operation of the statement that position `at` is in."""
    start = max(text.rfind(";", 0, at), text.rfind("{", 0, at)) + 1
    match = _STATEMENT.search(text, start, at)
    return (match[1], match[2]) if match else ("", "")

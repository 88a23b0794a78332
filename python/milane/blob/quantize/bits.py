"""Bit streams as weight files have them: lowest bit first, no gaps between elements."""

from __future__ import annotations

import numpy as np

from milane.blob.types import Array
from milane.errors import InvalidArgumentError


def pack_bits(values: Array, bits: int) -> Array:
    """uint8 bytes that hold the lowest `bits` bits (1 to 8) of each uint8 or bool value."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat
    if bits == 1:
        return np.packbits(flat, bitorder="little")
    fields = np.unpackbits(flat[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(fields.reshape(-1), bitorder="little")


def unpack_bits(data: Array, bits: int, count: int) -> Array:
    """The first `count` elements of `bits` bits each, as uint8.

    Raises:
        InvalidArgumentError: the bytes hold fewer.
    """
    if data.size * 8 < count * bits:
        raise InvalidArgumentError(
            f"quantize: expected {(count * bits + 7) // 8} bytes for {count} elements of {bits} "
            f"bits, got {data.size}"
        )
    stream = np.unpackbits(data.reshape(-1).view(np.uint8), count=count * bits, bitorder="little")
    if bits == 1:
        return stream
    return np.packbits(stream.reshape(count, bits), axis=1, bitorder="little").reshape(count)

"""From the operands of a constexpr operation back to the weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from milane.blob.types import Array
from milane.errors import InvalidArgumentError, UnsupportedError

from .bits import unpack_bits
from .constexpr import Operand
from .masks import SparseWeight
from .palettes import PaletteWeight
from .scales import AffineWeight

Weight = AffineWeight | PaletteWeight | SparseWeight
Operands = Mapping[str, Operand]


def unpack(op: str, operands: Iterable[Operand]) -> Weight:
    """The weight that a constexpr operation with these operands stands for.

    Takes constexpr_affine_dequantize, constexpr_blockwise_shift_scale, constexpr_lut_to_dense and
    constexpr_sparse_to_dense, in the forms of iOS 16 (packed bytes and a `shape`) and of iOS 18.

    Raises:
        InvalidArgumentError: the operation is another one, lacks an operand, or its operands do not
            fit together.
        DTypeError: an operand has a dtype that the operation does not take.
        UnsupportedError: tables of vectors.
    """
    if op not in _UNPACK:
        raise InvalidArgumentError(f"quantize.unpack: expected {', '.join(_UNPACK)}, got {op}")
    named = {operand.name: operand for operand in operands}
    try:
        return _UNPACK[op](named)
    except KeyError as missing:
        raise InvalidArgumentError(
            f"quantize.unpack: expected operand {missing} of {op}, got {', '.join(named) or 'none'}"
        ) from None


def _affine(operands: Operands) -> AffineWeight:
    data, scale, zero = (operands[n] for n in ("quantized_data", "scale", "zero_point"))
    axis = int(operands["axis"].values)
    if not -data.values.ndim <= axis < data.values.ndim:
        raise InvalidArgumentError(
            f"quantize.unpack: expected an axis of {list(data.shape)}, got {axis}"
        )
    count = max(scale.values.size, zero.values.size)
    grid = [1] * data.values.ndim
    grid[axis] = count
    parts = (np.broadcast_to(o.values.reshape(-1), (count,)).reshape(grid) for o in (scale, zero))
    scales, zeros = parts
    return AffineWeight(data.values, data.dtype, scales, zeros)


def _blockwise(operands: Operands) -> AffineWeight:
    data, offset = operands["data"], operands.get("offset")
    zeros = None if offset is None else offset.values
    return AffineWeight(data.values, data.dtype, operands["scale"].values, zeros)


def _palette(operands: Operands) -> PaletteWeight:
    indices, lut = operands["indices"].values, operands["lut"].values
    shape = _shape(operands)
    if shape is None:
        if lut.shape[-1:] != (1,):
            raise UnsupportedError(
                f"quantize.unpack: expected tables of single values, got {list(lut.shape)}"
            )
        return PaletteWeight(indices, lut[..., 0])
    bits = max(lut.size, 2).bit_length() - 1
    unpacked = unpack_bits(indices, bits, int(np.prod(shape, dtype=np.int64)))
    return PaletteWeight(unpacked.reshape(shape), lut.reshape(*[1] * len(shape), -1))


def _sparse(operands: Operands) -> SparseWeight:
    mask, values = operands["mask"].values, operands["nonzero_data"].values
    shape = _shape(operands)
    if shape is not None:
        mask = unpack_bits(mask, 1, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return SparseWeight(mask.astype(np.bool_), values)


def _shape(operands: Operands) -> tuple[int, ...] | None:
    if "shape" not in operands:
        return None
    dims: Array = operands["shape"].values
    return tuple(int(d) for d in dims)


_UNPACK: Final[dict[str, Callable[[Operands], Weight]]] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blockwise,
    "constexpr_lut_to_dense": _palette,
    "constexpr_sparse_to_dense": _sparse,
}

"""Integers with a scale: int8 and uint8, int4 and uint4, per tensor, per channel or per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from milane.blob.types import Array
from milane.errors import DTypeError, InvalidArgumentError

from .constexpr import (
    FLOATS,
    Constexpr,
    Operand,
    as_floats,
    blocks,
    check_form,
    mil_float,
    not_in_ios16,
    per_block,
    rounded,
)

_BITS: Final = {"int8": 8, "uint8": 8, "int4": 4, "uint4": 4}


@dataclass(frozen=True, eq=False)
class AffineWeight:
    """A weight as ``(data - zero_point) · scale``.

    Attributes:
        data: the integers, int8 or uint8, in the weight's shape.
        dtype: their type in MIL: ``"int8"``, ``"uint8"``, ``"int4"`` or ``"uint4"``.
        scale: float16 or float32 with the weight's rank; each length divides the weight's, and
            equal parts of an axis share a value.
        zero_point: as `data`, in the shape of `scale`; None for 0.
    """

    data: Array
    dtype: str
    scale: Array
    zero_point: Array | None = None

    def __post_init__(self) -> None:
        where = "AffineWeight"
        if self.dtype not in _BITS:
            raise DTypeError(f"{where}: expected {', '.join(_BITS)}, got {self.dtype!r}")
        mil_float(self.scale)
        fits = self.scale.ndim == self.data.ndim and all(
            part > 0 and size % part == 0
            for size, part in zip(self.data.shape, self.scale.shape, strict=True)
        )
        if not fits:
            raise InvalidArgumentError(
                f"{where}: expected a scale that divides {list(self.data.shape)}, "
                f"got {list(self.scale.shape)}"
            )
        if self.zero_point is not None and self.zero_point.shape != self.scale.shape:
            raise InvalidArgumentError(
                f"{where}: expected zero_point of shape {list(self.scale.shape)}, "
                f"got {list(self.zero_point.shape)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.data.shape

    def dequantize(self) -> Array:
        """The weight that a program computes with, in the dtype of `scale`.

        Each element is computed in float32, where the difference is exact, and rounded once.
        """
        values = blocks(self.data, self.scale.shape).astype(np.float32)
        if self.zero_point is not None:
            values -= per_block(self.zero_point).astype(np.float32)
        values *= per_block(self.scale).astype(np.float32)
        return rounded(values.reshape(self.shape), mil_float(self.scale))

    def constexpr(self, form: str = "ios18") -> Constexpr:
        """The operation that expands to this weight.

        ``"ios16"``: constexpr_affine_dequantize, for 8 bits with one scale, or one per index of one
        axis. ``"ios18"``: constexpr_blockwise_shift_scale.

        Raises:
            InvalidArgumentError: the form does not exist, or cannot say this weight.
        """
        check_form(form, "constexpr")
        result = mil_float(self.scale)
        if form == "ios16":
            return Constexpr(
                "constexpr_affine_dequantize", form, self._ios16_operands(), result, self.shape
            )
        operands = [
            Operand("data", self.dtype, self.data),
            Operand("scale", result, self.scale),
        ]
        if self.zero_point is not None:
            operands.append(Operand("offset", self.dtype, self.zero_point))
        return Constexpr(
            "constexpr_blockwise_shift_scale", form, tuple(operands), result, self.shape
        )

    def _ios16_operands(self) -> tuple[Operand, ...]:
        if _BITS[self.dtype] != 8:
            raise not_in_ios16("int8 or uint8", self.dtype)
        axes = [axis for axis, parts in enumerate(self.scale.shape) if parts > 1]
        if len(axes) > 1 or any(self.scale.shape[a] != self.shape[a] for a in axes):
            raise not_in_ios16(
                "one scale, or one per index of one axis",
                f"scales {list(self.scale.shape)} for {list(self.shape)}",
            )
        flat = self.scale.shape[axes[0] : axes[0] + 1] if axes else ()
        zero = np.zeros_like(self.scale, self.data.dtype)
        zero = zero if self.zero_point is None else self.zero_point
        return (
            Operand("axis", "int32", np.array(axes[0] if axes else 0, np.int32), inline=True),
            Operand("quantized_data", self.dtype, self.data),
            Operand("scale", mil_float(self.scale), self.scale.reshape(flat), inline=not axes),
            Operand("zero_point", self.dtype, zero.reshape(flat), inline=not axes),
        )


def affine(
    weights: npt.ArrayLike,
    dtype: str = "int8",
    *,
    axis: int | None = 0,
    block_size: int | None = None,
    block_axis: int = 1,
    symmetric: bool | None = None,
    scale_dtype: str = "fp16",
) -> AffineWeight:
    """The weight as integers with scales.

    A scale is rounded to `scale_dtype` first; then each weight takes the nearest integer, ties to
    even. So every element of the result lies within half a scale of the weight, plus its own
    rounding to `scale_dtype` (within a whole scale where it would round to infinity).

    Args:
        weights: any shape; taken as float32.
        dtype: ``"int8"``, ``"uint8"``, ``"int4"`` or ``"uint4"``.
        axis: one scale per index of this axis (0: per output channel); None for all alike.
        block_size: so many elements along `block_axis` share a scale; None for all of them.
        block_axis: the axis of the blocks (1: input channels).
        symmetric: the zero point is 0, or the middle for unsigned types, and the integers go as far
            down as up: ±127, ±7. Otherwise the range of the weights and 0 is stretched over all
            integers. By default, signed types are symmetric.
        scale_dtype: ``"fp16"`` or ``"fp32"``, also of what the program computes with.

    Raises:
        DTypeError: there is no such integer type, or the weights are no numbers.
        InvalidArgumentError: a weight is not finite or beyond `scale_dtype`, there is no such axis,
            or the blocks do not divide theirs.
    """
    where = "quantize.affine"
    if dtype not in _BITS:
        raise DTypeError(f"{where}: expected {', '.join(_BITS)}, got {dtype!r}")
    values = as_floats(weights, scale_dtype, where)
    grid = _grid(values.shape, axis, block_size, block_axis)
    signed = dtype.startswith("int")
    symmetric = signed if symmetric is None else symmetric
    low = -(1 << (_BITS[dtype] - 1)) if signed else 0
    high = low + (1 << _BITS[dtype]) - 1
    parts = blocks(values, grid)
    inside = tuple(range(1, parts.ndim, 2))
    least = np.minimum(parts.min(inside, keepdims=True), 0).astype(np.float64)
    most = np.maximum(parts.max(inside, keepdims=True), 0).astype(np.float64)
    if symmetric:
        reach = np.maximum(-least, most)
        steps, low = (high - low) // 2, low + 1
        zero = np.full(reach.shape, (low + high) // 2, np.float32)
        scale = _stored_scale(reach, steps, scale_dtype)
    else:
        scale = _stored_scale(most - least, high - low, scale_dtype)
        zero = np.clip(np.rint(low - least / scale), low, high).astype(np.float32)
    factor = scale.astype(np.float32)
    levels = np.clip(np.rint(parts / factor) + zero, low, high)
    infinite = ~np.isfinite(rounded((levels - zero) * factor, scale_dtype))
    levels[infinite] -= np.sign(parts[infinite])
    held = np.int8 if signed else np.uint8
    zero_point = None if symmetric and signed else zero.astype(held).reshape(grid)
    data = levels.astype(held).reshape(values.shape)
    return AffineWeight(data, dtype, scale.reshape(grid), zero_point)


def _grid(
    shape: tuple[int, ...], axis: int | None, block_size: int | None, block_axis: int
) -> list[int]:
    """How many scales there are along each axis."""
    where = "quantize.affine"
    grid = [1] * len(shape)
    if axis is not None:
        axis = _axis(axis, shape, "axis")
        grid[axis] = shape[axis]
    if block_size is not None:
        along = _axis(block_axis, shape, "block_axis")
        if along == axis:
            raise InvalidArgumentError(f"{where}: expected block_axis to differ from axis {axis}")
        if block_size < 1 or shape[along] % block_size:
            raise InvalidArgumentError(
                f"{where}: expected a block_size that divides {shape[along]}, got {block_size}"
            )
        grid[along] = shape[along] // block_size
    return grid


def _axis(axis: int, shape: tuple[int, ...], name: str) -> int:
    if not -len(shape) <= axis < len(shape):
        raise InvalidArgumentError(
            f"quantize.affine: expected {name} in [{-len(shape)}, {len(shape)}), got {axis}"
        )
    return axis % len(shape)


def _stored_scale(reach: Array, steps: int, dtype: str) -> Array:
    """Scales so that `steps` of each span `reach`, as they are stored; 1 where all is zero."""
    held = FLOATS[dtype]
    scale = (reach / steps).astype(held)
    # Rounding down cuts less than half a step off the ends, but for subnormal scales.
    short = (steps + 0.5) * scale.astype(np.float64) < reach
    scale = np.where(short, np.nextafter(scale, held(np.inf)), scale)
    return np.where(reach == 0, held(1), scale)

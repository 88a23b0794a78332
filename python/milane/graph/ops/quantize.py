"""Whole numbers of 8 bits for others, at run time."""

from __future__ import annotations

from typing import Literal

import numpy as np

from milane.graph.body import apply
from milane.graph.gradients import no_gradient
from milane.graph.tensor import Operand, Tensor


def quantize(
    input: Operand,
    scale: Operand,
    zero_point: Operand | None = None,
    *,
    output_dtype: Literal["int8", "uint8"] = "int8",
    axis: int | None = None,
    name: str | None = None,
) -> Tensor:
    """``round(input / scale) + zero_point``, within the type's range (ios17).

    ``scale`` and ``zero_point`` (of ``output_dtype``, 0 by default) are constants: a number, or one
    for each place of ``axis``. MIL has no default for ``output_dtype``.
    """
    dtype = np.int8 if output_dtype == "int8" else np.uint8
    return apply(
        "quantize",
        name,
        input=input,
        zero_point=_zero_point(zero_point, dtype),
        scale=scale,
        axis=axis,
        output_dtype=output_dtype,
    )


def dequantize(
    input: Operand,
    scale: Operand,
    zero_point: Operand | None = None,
    *,
    axis: int | None = None,
    name: str | None = None,
) -> Tensor:
    """``(input - zero_point) scale`` of an int8 or uint8 tensor, in the type of ``scale`` (ios17).

    Numbers of Python become fp16; arguments as :func:`quantize`.
    """
    dtype = np.uint8 if isinstance(input, Tensor) and input.dtype == "uint8" else np.int8
    return apply(
        "dequantize",
        name,
        input=input,
        zero_point=_zero_point(zero_point, dtype),
        scale=scale,
        axis=axis,
    )


def _zero_point(given: Operand | None, dtype: type[np.int8] | type[np.uint8]) -> Operand | None:
    return given if given is None or isinstance(given, Tensor) else np.asarray(given, dtype)


no_gradient("rounding is flat everywhere but where it jumps", "quantize")
no_gradient("its input is whole numbers, its scale a constant", "dequantize")

"""Convolutions: ``[batch, channels, spatial...]`` with one to three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from milane.graph.body import Node, apply
from milane.graph.gradients import Gradients, argument, gradient, operand, reshaped, summed
from milane.graph.ops._windows import Windows, windows
from milane.graph.tensor import Operand, Tensor

PadType: TypeAlias = Literal["valid", "same", "same_lower", "custom"]


def conv(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    *,
    strides: Sequence[int] | None = None,
    pad_type: PadType = "valid",
    pad: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Tensor:
    """The convolution (cross-correlation) of ``x`` with ``weight``, as PyTorch's ``conv1d``…``3d``.

    ``x`` is ``[N, C, spatial...]``, ``weight`` ``[out, C / groups, kernel...]``, ``bias``
    ``[out]``.
    ``strides`` and ``dilations`` are 1 by default, one number for each spatial axis. ``pad`` counts
    with ``pad_type="custom"`` only: before and after for each axis, so twice as many numbers.
    ``"same"`` pads what ``ceil(size / stride)`` results need, the odd one after, ``"same_lower"``
    before.

    The device takes no ``bias`` (ane_facts D 32): add it, as ``nn.linear`` does.
    """
    n = spatial_axes(x)
    return apply(
        "conv",
        name,
        x=x,
        weight=weight,
        bias=bias,
        strides=_each(strides, n, 1),
        pad_type=pad_type,
        pad=_each(pad, 2 * n, 0),
        dilations=_each(dilations, n, 1),
        groups=groups,
    )


@gradient("conv")
def _conv_gradient(node: Node, dy: Tensor) -> Gradients:
    x, weight = operand(node, "x"), operand(node, "weight")
    groups = int(argument(node, "groups", 1))
    seen = windows(node, x.shape[2:], dy.shape[2:], weight.shape[2:])
    return {
        "x": lambda: seen.spread(dy, weight, groups),
        "weight": lambda: _correlated(seen, x, dy, groups),
        "bias": lambda: _per_channel(dy),
    }


def _correlated(seen: Windows, x: Tensor, dy: Tensor, groups: int) -> Tensor:
    """What each place of the kernel meets, times ``dy``: ``[out, C / groups, kernel...]``.

    A product of matrices for every place: as a convolution ``dy`` would be its kernel, and the
    device takes none of more than 16 columns (docs/ane-limits.md).
    """
    n, channels, outs = x.shape[0], x.shape[1] // groups, dy.shape[1]
    points = math.prod(dy.shape[2:])
    split = [n, groups, outs // groups, points] if groups > 1 else [n, outs, points]
    right = [n, groups, channels, points] if groups > 1 else [n, channels, points]
    rows = reshaped(dy, split)
    columns = []
    for tap in seen.taps(x):
        product = apply(
            "matmul", x=rows, y=reshaped(tap, right), transpose_x=False, transpose_y=True
        )
        whole = summed(product, [0] if n > 1 else [], product.shape[1:])
        columns.append(reshaped(whole, [outs, channels, 1]))
    joined = columns[0]
    if len(columns) > 1:
        joined = apply("concat", values=tuple(columns), axis=2, interleave=False)
    return reshaped(joined, [outs, channels, *seen.kernel])


def _per_channel(dy: Tensor) -> Tensor:
    return summed(dy, [0, *range(2, dy.rank)], [dy.shape[1]])


def conv_transpose(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    *,
    pad: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pad_type: PadType = "valid",
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Tensor:
    """The transposed convolution of ``x``: what a convolution of that kernel would have come from.

    ``x`` is ``[N, C, spatial...]``, ``weight`` ``[C, out / groups, kernel...]``, ``bias``
    ``[out]``.
    ``pad`` (``pad_type="custom"``) is cut off the result; ``output_shape`` is the whole shape
    ``[N, out, spatial...]`` where several would do.
    """
    n = spatial_axes(x)
    return apply(
        "conv_transpose",
        name,
        x=x,
        weight=weight,
        bias=bias,
        pad=_each(pad, 2 * n, 0),
        output_shape=None if output_shape is None else list(output_shape),
        pad_type=pad_type,
        strides=_each(strides, n, 1),
        dilations=_each(dilations, n, 1),
        groups=groups,
    )


@gradient("conv_transpose")
def _conv_transpose_gradient(node: Node, dy: Tensor) -> Gradients:
    """A convolution of what came out, and the weight's as that of this convolution."""
    x, weight = operand(node, "x"), operand(node, "weight")
    groups = int(argument(node, "groups", 1))
    seen = windows(node, dy.shape[2:], x.shape[2:], weight.shape[2:])
    return {
        "x": lambda: apply(
            "conv",
            x=_met(seen, dy),
            weight=weight,
            strides=list(seen.strides),
            pad_type="custom" if any(seen.pads()) else "valid",
            pad=seen.pads(),
            dilations=list(seen.dilations),
            groups=groups,
        ),
        "weight": lambda: _correlated(seen, dy, x, groups),
        "bias": lambda: _per_channel(dy),
    }


def _met(seen: Windows, x: Tensor) -> Tensor:
    """``x`` without the end that no window reaches."""
    kept = [size + min(0, after) for size, after in zip(seen.sizes, seen.after, strict=True)]
    if kept == list(seen.sizes):
        return x
    return apply("slice_by_size", x=x, begin=[0] * x.rank, size=[*x.shape[:2], *kept])


def spatial_axes(x: Operand) -> int:
    """How many axes come after batch and channels; at least one, so that errors are MIL's own."""
    return max(1, (x.rank if isinstance(x, Tensor) else np.ndim(x)) - 2)


def _each(given: Sequence[int] | None, n: int, otherwise: int) -> list[int]:
    return [otherwise] * n if given is None else list(given)

"""Pooling: ``[batch, channels, spatial...]`` with one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milane.graph.body import Node, apply
from milane.graph.gradients import SMALLEST, Gradients, argument, gradient, operand
from milane.graph.ops._windows import LOWEST, Windows, windows
from milane.graph.ops.conv import PadType, spatial_axes
from milane.graph.tensor import Operand, Tensor


def avg_pool(
    x: Operand,
    *,
    kernel_sizes: Sequence[int],
    pad_type: PadType = "valid",
    strides: Sequence[int] | None = None,
    pad: Sequence[int] | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
    name: str | None = None,
) -> Tensor:
    """The mean of every window; padding counts as zeros unless it is excluded.

    ``kernel_sizes`` and ``strides`` have one number for each spatial axis, ``pad`` two
    (``pad_type="custom"``); the strides are 1 by default, as in MIL, not the kernel's sizes.
    ``ceil_mode`` keeps a last window that begins inside but does not fit.
    """
    return apply(
        "avg_pool",
        name,
        **_window(x, kernel_sizes, strides, pad_type, pad=pad, ceil_mode=ceil_mode),
        exclude_padding_from_average=exclude_padding_from_average,
    )


@gradient("avg_pool")
def _avg_pool_gradient(node: Node, dy: Tensor) -> Gradients:
    seen = _seen(node)
    kind = argument(node, "pad_type", "valid")
    pad = {"custom": argument(node, "pad"), "valid": [0] * (2 * len(seen.sizes))}.get(kind)
    pad = pad or seen.pads()
    excluded = bool(argument(node, "exclude_padding_from_average", False))
    count = np.ones(seen.counts)
    for axis, (n, s, k) in enumerate(zip(seen.counts, seen.strides, seen.kernel, strict=True)):
        size, before = seen.sizes[axis], seen.before[axis]
        low, high = (0, size) if excluded else (-before, size + int(pad[2 * axis + 1]))
        first = np.arange(n) * s - before
        met = np.minimum(first + k, high) - np.maximum(first, low)
        count *= met.reshape([-1 if i == axis else 1 for i in range(count.ndim)])
    share = 1.0 / count
    scaled = dy * (float(share.flat[0]) if np.ptp(count) == 0 else share[None, None])
    return {"x": _added(seen, scaled)}


def l2_pool(
    x: Operand,
    *,
    kernel_sizes: Sequence[int],
    pad_type: PadType = "valid",
    strides: Sequence[int] | None = None,
    pad: Sequence[int] | None = None,
    ceil_mode: bool = False,
    name: str | None = None,
) -> Tensor:
    """The root of the sum of squares of every window; arguments as :func:`avg_pool`."""
    return apply(
        "l2_pool", name, **_window(x, kernel_sizes, strides, pad_type, pad=pad, ceil_mode=ceil_mode)
    )


@gradient("l2_pool")
def _l2_pool_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), node.outputs[0]
    # A window of zeros gives 0, as PyTorch's norms do.
    part = apply("real_div", x=dy, y=apply("maximum", x=y, y=SMALLEST[x.dtype]))
    return {"x": x * _added(_seen(node), part)}


def max_pool(
    x: Operand,
    *,
    kernel_sizes: Sequence[int],
    pad_type: PadType = "valid",
    strides: Sequence[int] | None = None,
    pad: Sequence[int] | None = None,
    ceil_mode: bool = False,
    name: str | None = None,
) -> Tensor:
    """The largest element of every window, padding aside; arguments as :func:`avg_pool`."""
    return apply(
        "max_pool",
        name,
        **_window(x, kernel_sizes, strides, pad_type, pad=pad, ceil_mode=ceil_mode),
    )


@gradient("max_pool")
def _max_pool_gradient(node: Node, dy: Tensor) -> Gradients:
    """The first of equal elements takes it all, as in PyTorch."""
    x, y = operand(node, "x"), node.outputs[0]
    seen, channels = _seen(node), x.shape[1]
    shares: list[Tensor] = []
    left: Tensor | None = None  # 1 where no place before had it
    places = list(seen.places())
    for number, tap in enumerate(seen.taps(x, LOWEST[x.dtype])):
        found = apply("cast", x=apply("equal", x=tap, y=y), dtype=x.dtype)
        first = found if left is None else found * left
        if number + 1 < len(places):
            left = 1.0 - first if left is None else left - first
        shares.append(first * dy)
    if len(shares) == 1:
        return {"x": seen.spread(shares[0], np.ones((channels, 1, *seen.kernel)), channels)}
    # [N, C places, counts...]: place after place of each channel, and a kernel that puts it there.
    joined = apply("concat", values=tuple(shares), axis=1, interleave=True)
    kernel = np.zeros((len(places), 1, *seen.kernel))
    for number, place in enumerate(places):
        kernel[number, 0][place] = 1.0
    return {"x": seen.spread(joined, np.tile(kernel, (channels, *[1] * (x.rank - 1))), channels)}


def _seen(node: Node) -> Windows:
    sizes, counts = operand(node, "x").shape[2:], node.outputs[0].shape[2:]
    return windows(node, sizes, counts, argument(node, "kernel_sizes"))


def _added(seen: Windows, dy: Tensor) -> Tensor:
    """``dy`` at every place of its window, added up where windows overlap."""
    channels = dy.shape[1]
    return seen.spread(dy, np.ones((channels, 1, *seen.kernel)), channels)


def _window(
    x: Operand,
    kernel_sizes: Sequence[int],
    strides: Sequence[int] | None,
    pad_type: PadType,
    *,
    pad: Sequence[int] | None,
    ceil_mode: bool,
) -> dict[str, Operand]:
    n = spatial_axes(x)
    return {
        "x": x,
        "kernel_sizes": list(kernel_sizes),
        "strides": [1] * n if strides is None else list(strides),
        "pad_type": pad_type,
        "pad": [0] * (2 * n) if pad is None else list(pad),
        "ceil_mode": ceil_mode,
    }

"""The geometry of convolutions and pools, for their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from milane.graph.body import Node, apply
from milane.graph.gradients import argument
from milane.graph.ops.slice import slice_by_index
from milane.graph.tensor import Tensor

LOWEST = {"fp16": -65504.0, "fp32": float(np.finfo(np.float32).min)}


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes of ``[N, C, sizes...]``: ``counts`` of them.

    Attributes:
        sizes: of the input.
        counts: of the windows.
        kernel: places of a window.
        strides: from window to window.
        dilations: from place to place.
        before: padding in front.
    """

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]

    @property
    def spans(self) -> list[int]:
        """From the first place of the first window to the last one of the last."""
        axes = zip(self.counts, self.strides, self.kernel, self.dilations, strict=True)
        return [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in axes]

    @property
    def after(self) -> list[int]:
        """Padding behind that the last window meets; negative where it ends before the input."""
        axes = zip(self.spans, self.sizes, self.before, strict=True)
        return [span - size - before for span, size, before in axes]

    def pads(self) -> list[int]:
        """Before and after of each axis, as ``pad`` has them; what no window meets is left out."""
        after = [max(0, n) for n in self.after]
        return [n for pair in zip(self.before, after, strict=True) for n in pair]

    def places(self) -> Iterator[tuple[int, ...]]:
        """Every place of a window, in row-major order."""
        yield from np.ndindex(*self.kernel)

    def taps(self, x: Tensor, filling: float = 0.0) -> Iterator[Tensor]:
        """For every place: what the windows meet there, ``[N, C, counts...]``."""
        pads = self.pads()
        if any(pads):
            x = apply("pad", x=x, pad=pads, mode="constant", constant_val=filling)
        for place in self.places():
            begin = [p * d for p, d in zip(place, self.dilations, strict=True)]
            axes = zip(begin, self.counts, self.strides, strict=True)
            end = [b + (n - 1) * s + 1 for b, n, s in axes]
            whole = tuple(begin) == (0,) * len(begin) and tuple(end) == x.shape[2:]
            if whole and set(self.strides) == {1}:
                yield x
                continue
            yield slice_by_index(
                x,
                [0, 0, *begin],
                [*x.shape[:2], *end],
                stride=[1, 1, *self.strides],
            )

    def spread(self, dy: Tensor, weight: Tensor | npt.NDArray[Any], groups: int) -> Tensor:
        """The transposed convolution of ``[N, O, counts...]``: onto the input."""
        exact = all(n >= 0 for n in self.after)
        channels, pads = groups * weight.shape[1], self.pads()
        return apply(
            "conv_transpose",
            x=dy,
            weight=weight,
            pad=pads,
            output_shape=None if exact else [dy.shape[0], channels, *self.sizes],
            pad_type="custom" if any(pads) else "valid",
            strides=list(self.strides),
            dilations=list(self.dilations),
            groups=groups,
        )


def windows(
    node: Node, sizes: Sequence[int], counts: Sequence[int], kernel: Sequence[int]
) -> Windows:
    """Of a convolution or pool: the input's sizes, those of its result, and the kernel's."""
    n = len(sizes)
    strides = argument(node, "strides", [1] * n)
    dilations = argument(node, "dilations", [1] * n)
    kind, pad = argument(node, "pad_type", "valid"), argument(node, "pad", [0] * (2 * n))
    before = []
    for i in range(n):
        reach = (kernel[i] - 1) * dilations[i] + 1
        span = (-(-sizes[i] // strides[i]) - 1) * strides[i] + reach
        total = max(0, span - sizes[i])
        same = {"same": total // 2, "same_lower": total - total // 2}
        before.append(same.get(kind, pad[2 * i] if kind == "custom" else 0))
    return Windows(
        tuple(sizes), tuple(counts), tuple(kernel), tuple(strides), tuple(dilations), tuple(before)
    )

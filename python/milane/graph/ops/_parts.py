"""Parts of one axis, and their way back: what the gradients of moves are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from milane.graph.body import apply, apply_all
from milane.graph.gradients import reshaped
from milane.graph.tensor import Tensor


def part(x: Tensor, axis: int, begin: int, end: int, stride: int = 1) -> Tensor:
    """``x[..., begin:end:stride, ...]``."""
    if (begin, end, stride) == (0, x.shape[axis], 1):
        return x
    n = x.rank
    if stride == 1:
        size = [end - begin if i == axis else x.shape[i] for i in range(n)]
        return apply(
            "slice_by_size", x=x, begin=[begin if i == axis else 0 for i in range(n)], size=size
        )
    return apply(
        "slice_by_index",
        x=x,
        begin=[begin if i == axis else 0 for i in range(n)],
        end=[end if i == axis else x.shape[i] for i in range(n)],
        stride=[stride if i == axis else 1 for i in range(n)],
    )


def parts(x: Tensor, axis: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Parts of these sizes, one after the other."""
    if len(sizes) == 1:
        return (x,)
    return apply_all("split", x=x, split_sizes=list(sizes), axis=axis)


def put(x: Tensor, axis: int, begin: int, size: int) -> Tensor:
    """``x`` from ``begin`` on in an axis of this size, and zeros around it."""
    after = size - begin - x.shape[axis]
    if begin == after == 0:
        return x
    # Other axes merged: four axes with two of them padded is what images have everywhere.
    inner = math.prod(x.shape[axis + 1 :])
    flat = reshaped(x, [1, math.prod(x.shape[:axis]), x.shape[axis], inner])
    padded = apply("pad", x=flat, pad=[begin, after, 0, 0], mode="constant", constant_val=0.0)
    return reshaped(padded, [*x.shape[:axis], size, *x.shape[axis + 1 :]])


def inserted(x: Tensor, axis: int, stride: int) -> Tensor:
    """``x`` with ``stride - 1`` zeros between neighbours of an axis, and none at the ends."""
    count = x.shape[axis]
    if stride == 1 or count == 1:
        return x
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    spread = put(reshaped(x, [math.prod(outer) * count, 1, math.prod(inner)]), 1, 0, stride)
    whole = reshaped(spread, [*outer, count * stride, *inner])
    return part(whole, axis, 0, (count - 1) * stride + 1)

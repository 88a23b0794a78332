"""Parts of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milane.graph.body import Node, apply
from milane.graph.gradients import Gradients, argument, gradient, operand, reshaped, zeros_like
from milane.graph.ops._parts import inserted, put
from milane.graph.tensor import Operand, Tensor


def slice_by_index(
    x: Operand,
    begin: Sequence[int] | Tensor,
    end: Sequence[int] | Tensor,
    *,
    stride: Sequence[int] | None = None,
    begin_mask: Sequence[bool] | None = None,
    end_mask: Sequence[bool] | None = None,
    squeeze_mask: Sequence[bool] | None = None,
    name: str | None = None,
) -> Tensor:
    """``x[begin:end:stride]`` for every axis, as NumPy; ``x[...]`` of a tensor makes it, too.

    A mask ignores the begin or end of its axis, or takes the one place ``begin`` and drops the
    axis.
    """
    return apply(
        "slice_by_index",
        name,
        x=x,
        begin=_list(begin),
        end=_list(end),
        stride=None if stride is None else _list(stride),
        begin_mask=_flags(begin_mask),
        end_mask=_flags(end_mask),
        squeeze_mask=_flags(squeeze_mask),
    )


@gradient("slice_by_index")
def _slice_by_index_gradient(node: Node, dy: Tensor) -> Gradients:
    """Zeros, and the gradient where the slice was."""
    x = operand(node, "x")
    ranges = _ranges(node, x)
    dy = reshaped(dy, [len(places) for places in ranges])
    for axis, places in enumerate(ranges):
        if places.step < 0 and len(places) > 1:
            dy = apply("reverse", x=dy, axes=[axis])
        first = min(places[0], places[-1])
        dy = put(inserted(dy, axis, abs(places.step)), axis, first, x.shape[axis])
    return {"x": dy}


def _ranges(node: Node, x: Tensor) -> list[range]:
    """The places of each axis that the slice takes."""
    rank = x.rank
    begin, end = argument(node, "begin"), argument(node, "end")
    stride = argument(node, "stride", [1] * rank)
    from_start = argument(node, "begin_mask", [False] * rank)
    to_end = argument(node, "end_mask", [False] * rank)
    squeezed = argument(node, "squeeze_mask", [False] * rank)
    ranges = []
    for axis, size in enumerate(x.shape):
        low = None if from_start[axis] else begin[axis]
        high = None if to_end[axis] else end[axis]
        if squeezed[axis]:
            at = (low or 0) % size
            ranges.append(range(at, at + 1))
        else:
            ranges.append(range(size)[low : high : stride[axis]])
    return ranges


def slice_by_size(
    x: Operand,
    begin: Sequence[int] | Tensor,
    size: Sequence[int] | Tensor,
    *,
    name: str | None = None,
) -> Tensor:
    """``size[i]`` elements of ``x`` from ``begin[i]`` on along axis ``i``; -1: all the rest."""
    return apply("slice_by_size", name, x=x, begin=_list(begin), size=_list(size))


@gradient("slice_by_size")
def _slice_by_size_gradient(node: Node, dy: Tensor) -> Gradients:
    x, begin = operand(node, "x"), argument(node, "begin")
    for axis, size in enumerate(x.shape):
        dy = put(dy, axis, begin[axis] % size, size)
    return {"x": dy}


def slice_update(
    x: Operand,
    update: Operand,
    begin: Sequence[int] | Tensor,
    end: Sequence[int] | Tensor,
    *,
    stride: Sequence[int] | None = None,
    begin_mask: Sequence[bool] | None = None,
    end_mask: Sequence[bool] | None = None,
    squeeze_mask: Sequence[bool] | None = None,
    name: str | None = None,
) -> Tensor:
    """``x`` with ``update`` in place of the slice (ios18); arguments as :func:`slice_by_index`."""
    return apply(
        "slice_update",
        name,
        x=x,
        update=update,
        begin=_list(begin),
        end=_list(end),
        stride=None if stride is None else _list(stride),
        begin_mask=_flags(begin_mask),
        end_mask=_flags(end_mask),
        squeeze_mask=_flags(squeeze_mask),
    )


@gradient("slice_update")
def _slice_update_gradient(node: Node, dy: Tensor) -> Gradients:
    """Zeros where the update stands, and the update's is what stands there."""
    names = ("begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask")
    where: dict[str, Any] = {name: node.inputs.get(name) for name in names}
    update = operand(node, "update")
    return {
        "x": lambda: apply("slice_update", x=dy, update=zeros_like(update), **where),
        "update": lambda: reshaped(apply("slice_by_index", x=dy, **where), update.shape),
    }


def _list(given: Sequence[int] | Tensor) -> list[int] | Tensor:
    return given if isinstance(given, Tensor) else [int(n) for n in given]


def _flags(given: Sequence[bool] | None) -> list[bool] | None:
    return None if given is None else [bool(flag) for flag in given]

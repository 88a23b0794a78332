"""Scans and sorting."""

from __future__ import annotations

from milane.graph.body import Node, apply, apply_all
from milane.graph.gradients import (
    Gradients,
    RefusedError,
    argument,
    gradient,
    no_gradient,
    operand,
)
from milane.graph.tensor import Operand, Tensor


def cumsum(
    x: Operand,
    *,
    axis: int = 0,
    exclusive: bool = False,
    reverse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The sum of all elements up to each one along an axis; of the shape of x.

    ``exclusive`` leaves the element itself out; ``reverse`` sums from the end.
    """
    return apply("cumsum", name, x=x, axis=axis, exclusive=exclusive, reverse=reverse)


@gradient("cumsum")
def _cumsum_gradient(node: Node, dy: Tensor) -> Gradients:
    return {
        "x": cumsum(
            dy,
            axis=argument(node, "axis"),
            exclusive=argument(node, "exclusive"),
            reverse=not argument(node, "reverse"),
        )
    }


def argsort(
    x: Operand,
    *,
    axis: int = -1,
    ascending: bool = False,
    name: str | None = None,
) -> Tensor:
    """The positions, int32, that put an axis in order; the largest first unless ``ascending``."""
    return apply("argsort", name, x=x, axis=axis, ascending=ascending)


no_gradient("positions are integers", "argsort")


def topk(
    x: Operand,
    *,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """The k largest elements along an axis, and their positions; the smallest if ``ascending``.

    The positions are left out unless ``return_indices``, and are ``"int32"`` or ``"uint16"``. The
    order is by size if ``sort``, and otherwise not to be relied on.
    """
    return apply_all(
        "topk",
        name,
        x=x,
        k=k,
        axis=axis,
        ascending=ascending,
        sort=sort,
        return_indices=return_indices,
        output_indices_dtype=output_indices_dtype,
    )


@gradient("topk")
def _topk_gradient(node: Node, dy: Tensor, _: Tensor | None = None) -> Gradients:
    x, axis = operand(node, "x"), argument(node, "axis")
    if len(node.outputs) == 1:
        raise RefusedError("it must return the positions: return_indices=True")
    zeros = apply("fill_like", ref_tensor=x, value=0.0)
    positions = node.outputs[1]
    return {
        "x": apply(
            "scatter_along_axis",
            data=zeros,
            indices=positions,
            updates=dy,
            axis=axis,
            mode="add",
            validate_indices=False,
        )
    }


def non_zero(x: Operand, *, name: str | None = None) -> Tensor:
    """The positions of all elements that are not 0, int32 ``[count, rank]``.

    Their number is known at run time only, so no backend here runs it.
    """
    return apply("non_zero", name, x=x)


no_gradient("positions are integers", "non_zero")

"""Lists of tensors. No backend here runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from milane.graph.body import apply
from milane.graph.gradients import no_gradient
from milane.graph.ops._made import body_in
from milane.graph.tensor import Operand, Tensor

if TYPE_CHECKING:
    from milane.graph.graph import Graph


def make_list(
    *,
    elem_shape: Sequence[int | str],
    init_length: int | Tensor = 1,
    dynamic_length: bool = True,
    dtype: str = "fp32",
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """A list of tensors of one shape; a name in ``elem_shape`` is a size known at run time only.

    It needs the ``graph`` unless ``init_length`` is a tensor.
    """
    body = body_in(graph, "make_list", {"init_length": init_length})
    sizes = tuple(
        body.inline(size, "string" if isinstance(size, str) else "int32", "elem_size")
        for size in elem_shape
    )
    return body.op(
        "make_list",
        name=name,
        init_length=init_length,
        dynamic_length=dynamic_length,
        elem_shape=sizes,
        dtype=dtype,
    )


def list_gather(ls: Tensor, indices: Operand, *, name: str | None = None) -> Tensor:
    """The list's elements at these positions, along a new first axis."""
    return apply("list_gather", name, ls=ls, indices=indices)


def list_length(ls: Tensor, *, name: str | None = None) -> Tensor:
    """How many elements the list has: a scalar int32."""
    return apply("list_length", name, ls=ls)


def list_read(ls: Tensor, index: Operand, *, name: str | None = None) -> Tensor:
    """One element of the list."""
    return apply("list_read", name, ls=ls, index=index)


def list_scatter(
    ls: Tensor, indices: Operand, value: Operand, *, name: str | None = None
) -> Tensor:
    """The list with other elements at these positions: the first axis of ``value`` counts them."""
    return apply("list_scatter", name, ls=ls, indices=indices, value=value)


def list_write(ls: Tensor, index: Operand, value: Operand, *, name: str | None = None) -> Tensor:
    """The list with another element at this position."""
    return apply("list_write", name, ls=ls, index=index, value=value)


no_gradient(
    "there is no rule for lists, and no backend that runs them",
    "list_gather",
    "list_length",
    "list_read",
    "list_scatter",
    "list_write",
    "make_list",
)

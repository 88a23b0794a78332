"""Elements by their position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from milane.graph.body import Node, apply
from milane.graph.gradients import (
    Gradients,
    RefusedError,
    argument,
    gradient,
    no_gradient,
    operand,
    reshaped,
    zeros_like,
)
from milane.graph.ops._made import apply_in
from milane.graph.tensor import Operand, Tensor

if TYPE_CHECKING:
    from milane.graph.graph import Graph

ScatterMode: TypeAlias = Literal["add", "div", "max", "min", "mul", "sub", "update"]


def gather(
    x: Operand,
    indices: Operand,
    *,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """The slices of ``x`` at these positions of an axis, as NumPy's ``take``.

    ``indices`` may have any rank: their axes stand in the place of ``axis``. The first
    ``batch_dims`` axes are common to both (ios16).
    """
    return apply(
        "gather",
        name,
        x=x,
        indices=indices,
        axis=axis,
        batch_dims=batch_dims,
        validate_indices=validate_indices,
    )


@gradient("gather")
def _gather_gradient(node: Node, dy: Tensor) -> Gradients:
    """The rows that each position gave, added up: a product with the positions as rows of 0 and 1.

    Not scatter, which the device has no code for (docs/ane-limits.md); the matrix has as many
    elements as there are positions, times the size of the axis.
    """
    x, indices = operand(node, "x"), operand(node, "indices")
    axis = argument(node, "axis", 0) % x.rank
    if argument(node, "batch_dims", 0):
        raise RefusedError("there is no rule for batch_dims other than 0")
    size, many = x.shape[axis], math.prod(indices.shape)
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    if indices.dtype != "int32":
        indices = apply("cast", x=indices, dtype="int32")
    # A position below 0 counts from the end.
    column = reshaped(indices, [many, 1])
    column = apply("select", cond=apply("less", x=column, y=0), a=column + size, b=column)
    steps = column._body.op("range_1d", end=size, start=0, step=1)
    steps = reshaped(steps, [1, size])
    chosen = apply("cast", x=apply("equal", x=column, y=steps), dtype=dy.dtype)
    rows = reshaped(dy, [math.prod(outer), many, math.prod(inner)])
    total = apply("matmul", x=chosen, y=rows, transpose_x=True, transpose_y=False)
    return {"x": reshaped(total, x.shape)}


def gather_along_axis(
    x: Operand,
    indices: Operand,
    *,
    axis: int = 0,
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """The elements of ``x`` at these positions of an axis, as NumPy's ``take_along_axis``."""
    return apply(
        "gather_along_axis",
        name,
        x=x,
        indices=indices,
        axis=axis,
        validate_indices=validate_indices,
    )


@gradient("gather_along_axis")
def _gather_along_axis_gradient(node: Node, dy: Tensor) -> Gradients:
    """By scatter_along_axis: as gather_along_axis itself, the device does not have it."""
    x, axis = operand(node, "x"), argument(node, "axis", 0)
    indices = operand(node, "indices")
    return {"x": scatter_along_axis(zeros_like(x), indices, dy, axis=axis, mode="add")}


def gather_nd(
    x: Operand,
    indices: Operand,
    *,
    batch_dims: int = 0,
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """The slices of ``x`` at positions of several axes, one in each row of ``indices``."""
    return apply(
        "gather_nd",
        name,
        x=x,
        indices=indices,
        batch_dims=batch_dims,
        validate_indices=validate_indices,
    )


@gradient("gather_nd")
def _gather_nd_gradient(node: Node, dy: Tensor) -> Gradients:
    """By scatter_nd: as gather_nd itself, the device does not have it."""
    if argument(node, "batch_dims", 0):
        raise RefusedError("there is no rule for batch_dims other than 0")
    x, indices = operand(node, "x"), operand(node, "indices")
    return {"x": scatter_nd(zeros_like(x), indices, dy, mode="add")}


def scatter(
    data: Operand,
    indices: Operand,
    updates: Operand,
    *,
    axis: int = 0,
    mode: ScatterMode = "add",
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """``data`` with updates of its slices at these positions of an axis; see :func:`gather`.

    ``mode`` combines the element and its update; ``"update"`` replaces it.
    """
    return apply(
        "scatter",
        name,
        data=data,
        indices=indices,
        updates=updates,
        axis=axis,
        mode=mode,
        validate_indices=validate_indices,
    )


def scatter_along_axis(
    data: Operand,
    indices: Operand,
    updates: Operand,
    *,
    axis: int = 0,
    mode: ScatterMode = "add",
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """``data`` with updates of its elements at these positions; see :func:`gather_along_axis`."""
    return apply(
        "scatter_along_axis",
        name,
        data=data,
        indices=indices,
        updates=updates,
        axis=axis,
        mode=mode,
        validate_indices=validate_indices,
    )


def scatter_nd(
    data: Operand,
    indices: Operand,
    updates: Operand,
    *,
    mode: ScatterMode = "add",
    validate_indices: bool = False,
    name: str | None = None,
) -> Tensor:
    """``data`` with updates of its slices at these positions; see :func:`gather_nd`."""
    return apply(
        "scatter_nd",
        name,
        data=data,
        indices=indices,
        updates=updates,
        mode=mode,
        validate_indices=validate_indices,
    )


@gradient("scatter", "scatter_along_axis", "scatter_nd")
def _scatter_gradient(node: Node, dy: Tensor) -> Gradients:
    """For the modes that are linear; positions that come twice must not be in one of update."""
    mode = argument(node, "mode", "add")
    if mode not in ("add", "sub", "update"):
        raise RefusedError(f"there is a rule for the modes add, sub and update, got {mode}")
    updates = operand(node, "updates")
    where: dict[str, Any] = {"indices": operand(node, "indices")}
    if node.type != "scatter_nd":
        where["axis"] = argument(node, "axis", 0)

    def data() -> Tensor:
        if mode != "update":
            return dy
        zeros = zeros_like(updates)
        return apply(node.type, data=dy, updates=zeros, mode="update", **where)

    def update() -> Tensor:
        taken = apply(node.type.replace("scatter", "gather"), x=dy, **where)
        return taken * -1.0 if mode == "sub" else taken

    return {"data": data, "updates": update}


def one_hot(
    indices: Operand,
    *,
    one_hot_vector_size: int | Tensor,
    axis: int = -1,
    on_value: float = 1,
    off_value: float = 0,
    name: str | None = None,
) -> Tensor:
    """``on_value`` at these positions of a new axis, ``off_value`` elsewhere.

    Two whole numbers give int32, others fp16. A negative position is none at all.
    """
    if isinstance(on_value, float) or isinstance(off_value, float):
        on_value, off_value = float(on_value), float(off_value)
    return apply(
        "one_hot",
        name,
        indices=indices,
        one_hot_vector_size=one_hot_vector_size,
        axis=axis,
        on_value=on_value,
        off_value=off_value,
    )


# New tensors.


def fill(
    shape: Sequence[int] | Tensor,
    *,
    value: float = 0.0,
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """A tensor of one value: int32 for a whole number of Python, fp16 for another.

    ``shape`` may be a tensor; a list needs the ``graph``.
    """
    given = shape if isinstance(shape, Tensor) else [int(n) for n in shape]
    return apply_in(graph, "fill", name, shape=given, value=value)


def fill_like(ref_tensor: Operand, *, value: float = 0.0, name: str | None = None) -> Tensor:
    """A tensor of one value in the shape of another (ios16)."""
    return apply("fill_like", name, ref_tensor=ref_tensor, value=value)


def range_1d(
    start: Operand,
    end: Operand,
    step: Operand = 1,
    *,
    graph: Graph | None = None,
    name: str | None = None,
) -> Tensor:
    """The numbers from ``start`` on, ``step`` apart, before ``end``, as NumPy's ``arange``.

    Each may be a scalar tensor; numbers alone need the ``graph``.
    """
    return apply_in(graph, "range_1d", name, end=end, start=start, step=step)


def shape(x: Operand, *, name: str | None = None) -> Tensor:
    """The sizes of ``x``: int32 ``[rank]``."""
    return apply("shape", name, x=x)


no_gradient("it is made of whole numbers", "one_hot", "range_1d", "shape")
no_gradient("its values do not depend on the shape it is given", "fill", "fill_like")

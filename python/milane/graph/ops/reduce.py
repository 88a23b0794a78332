"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from milane.graph.body import Node, apply
from milane.graph.gradients import (
    SMALLEST,
    Gradients,
    axes_of,
    broadcast,
    gradient,
    no_gradient,
    operand,
    reshaped,
)
from milane.graph.ops.binary import maximum
from milane.graph.ops.elementwise import exp, sign
from milane.graph.tensor import Operand, Tensor


def reduce_l1_norm(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The sum of absolute values, ``Σ |x|``.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_l1_norm", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_l1_norm")
def _reduce_l1_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": sign(x) * _kept(node, dy)}


def reduce_l2_norm(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The Euclidean length, ``√(Σ x²)``.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_l2_norm", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_l2_norm")
def _reduce_l2_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    # At 0, where there is no gradient, 0 is taken, as in PyTorch.
    length = maximum(_kept(node, node.outputs[0]), SMALLEST[x.dtype])
    return {"x": x / length * _kept(node, dy)}


def reduce_log_sum(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The logarithm of the sum, ``log(Σ x)``.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_log_sum", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_log_sum")
def _reduce_log_sum_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    total = reduce_sum(x, axes=axes_of(node, x.rank), keep_dims=True)
    return {"x": broadcast(_kept(node, dy) / total, x.shape)}


def reduce_log_sum_exp(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """``log(Σ e^x)``, without overflow of the exponentials.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_log_sum_exp", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_log_sum_exp")
def _reduce_log_sum_exp_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": exp(x - _kept(node, node.outputs[0])) * _kept(node, dy)}


def reduce_max(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The largest element.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_max", name, x=x, axes=axes, keep_dims=keep_dims)


def reduce_mean(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The mean of the elements.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_mean", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_mean")
def _reduce_mean_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    kept = _kept(node, dy)
    count = math.prod(x.shape) // math.prod(kept.shape)
    return {"x": broadcast(kept * (1.0 / count), x.shape)}


def reduce_min(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The smallest element.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_min", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_max", "reduce_min")
def _reduce_extremum_gradient(node: Node, dy: Tensor) -> Gradients:
    """Equal ones share it, as in PyTorch's ``amax``."""
    x = operand(node, "x")
    found = apply("equal", x=x, y=_kept(node, node.outputs[0]))
    chosen = apply("cast", x=found, dtype=x.dtype)
    count = reduce_sum(chosen, axes=axes_of(node, x.rank), keep_dims=True)
    return {"x": chosen * (_kept(node, dy) / count)}


def reduce_prod(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of the elements.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_prod", name, x=x, axes=axes, keep_dims=keep_dims)


def _product_before(lanes: Tensor) -> Tensor:
    """For each element the product of those before it in its row: a zero among them stays exact."""
    count = lanes.shape[1]
    # Shifting by 1, 2, 4, … multiplies twice as many at each turn.
    product = _shifted(lanes, 1)
    step = 1
    while step < count:
        product = product * _shifted(product, step)
        step *= 2
    return product


def _shifted(lanes: Tensor, by: int) -> Tensor:
    """Rows moved to the right, with ones in front."""
    count = lanes.shape[1]
    front = apply("fill_like", ref_tensor=lanes[:, :by], value=1.0)
    if by >= count:
        return front
    return apply("concat", values=[front, lanes[:, : count - by]], axis=1, interleave=False)


@gradient("reduce_prod")
def _reduce_prod_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    axes = axes_of(node, x.rank)
    kept = [axis for axis in range(x.rank) if axis not in axes]
    order = [*kept, *axes]
    count = math.prod(x.shape[axis] for axis in axes)
    turned = apply("transpose", x=x, perm=order)
    lanes = reshaped(turned, [math.prod(x.shape) // count, count])
    flipped = apply("reverse", x=lanes, axes=[1])
    after = apply("reverse", x=_product_before(flipped), axes=[1])
    others = reshaped(_product_before(lanes) * after, turned.shape)
    back = [order.index(axis) for axis in range(x.rank)]
    return {"x": apply("transpose", x=others, perm=back) * _kept(node, dy)}


def reduce_sum(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The sum of the elements.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_sum", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_sum")
def _reduce_sum_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": broadcast(_kept(node, dy), x.shape)}


def reduce_sum_square(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> Tensor:
    """The sum of squares, ``Σ x²``.

    ``axes`` are reduced, all where None; they stay as 1 with ``keep_dims``.
    """
    return apply("reduce_sum_square", name, x=x, axes=axes, keep_dims=keep_dims)


@gradient("reduce_sum_square")
def _reduce_sum_square_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": x * 2.0 * _kept(node, dy)}


def reduce_argmax(
    x: Operand,
    *,
    axis: int = -1,
    keep_dims: bool = False,
    output_dtype: str = "int32",
    name: str | None = None,
) -> Tensor:
    """The position of the largest element along an axis, of the first one where several are.

    ``output_dtype`` is ``"int32"`` or ``"uint16"``, the latter from dialect ios17 on.
    """
    return apply(
        "reduce_argmax", name, x=x, axis=axis, keep_dims=keep_dims, output_dtype=output_dtype
    )


def reduce_argmin(
    x: Operand,
    *,
    axis: int = -1,
    keep_dims: bool = False,
    output_dtype: str = "int32",
    name: str | None = None,
) -> Tensor:
    """The position of the smallest element along an axis, of the first one where several are.

    ``output_dtype`` is ``"int32"`` or ``"uint16"``, the latter from dialect ios17 on.
    """
    return apply(
        "reduce_argmin", name, x=x, axis=axis, keep_dims=keep_dims, output_dtype=output_dtype
    )


no_gradient("positions are integers", "reduce_argmax", "reduce_argmin")


def _kept(node: Node, result: Tensor) -> Tensor:
    """A result of the reduction, or its gradient, with the reduced axes as 1."""
    x = operand(node, "x")
    axes = axes_of(node, x.rank)
    return reshaped(result, [1 if axis in axes else size for axis, size in enumerate(x.shape)])

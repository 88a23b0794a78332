"""Matrix products and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

from milane.graph.body import Node, apply
from milane.graph.gradients import (
    Gradients,
    argument,
    broadcast,
    gradient,
    operand,
    reshaped,
    summed,
    unbroadcast,
)
from milane.graph.tensor import Operand, Tensor

# What the device takes for minus infinity: large enough to leave nothing after exp.
_MASKED = -40000.0


def matmul(
    x: Operand,
    y: Operand,
    *,
    transpose_x: bool = False,
    transpose_y: bool = False,
    name: str | None = None,
) -> Tensor:
    """The matrix product over the last two axes; the others are broadcast.

    Shapes: x ``[…, M, K]``, y ``[…, K, N]``, result ``[…, M, N]``; ``[…, K, M]`` with
    ``transpose_x``, ``[…, N, K]`` with ``transpose_y``. An operand of rank 1 is a row for x and a
    column for y, and its axis is dropped from the result.
    """
    return apply("matmul", name, x=x, y=y, transpose_x=transpose_x, transpose_y=transpose_y)


@gradient("matmul")
def _matmul_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    turned_x, turned_y = argument(node, "transpose_x", False), argument(node, "transpose_y", False)
    # A vector is a row or a column; the product had that axis, too.
    a = reshaped(x, [1, *x.shape]) if x.rank == 1 else x
    b = reshaped(y, [*y.shape, 1]) if y.rank == 1 else y
    rows, columns = a.shape[-1 if turned_x else -2], b.shape[-2 if turned_y else -1]
    lead = dy.shape[: dy.rank - (x.rank > 1) - (y.rank > 1)]
    d = reshaped(dy, [*lead, rows, columns])

    def of_x() -> Tensor:
        if turned_x:
            return _unbroadcast_to(matmul(b, d, transpose_x=turned_y, transpose_y=True), a, x)
        return _unbroadcast_to(matmul(d, b, transpose_y=not turned_y), a, x)

    def of_y() -> Tensor:
        left, right = a, d
        if b.rank == 2 and a.rank > 2 and not turned_x:
            # One product over all rows: its sums are not rounded in between.
            count = math.prod(a.shape[:-1])
            left, right = reshaped(a, [count, a.shape[-1]]), reshaped(d, [count, columns])
        if turned_y:
            product = matmul(right, left, transpose_x=True, transpose_y=turned_x)
        else:
            product = matmul(left, right, transpose_x=not turned_x)
        return _unbroadcast_to(product, b, y)

    return {"x": of_x, "y": of_y}


def _unbroadcast_to(product: Tensor, matrix: Tensor, like: Tensor) -> Tensor:
    return reshaped(unbroadcast(product, matrix), like.shape)


def linear(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """``x · weightᵀ + bias`` over the last axis; weight and bias are constant.

    Shapes: x ``[…, D_in]``, weight ``[D_out, D_in]``, bias ``[D_out]``, result ``[…, D_out]``.
    """
    return apply("linear", name, x=x, weight=weight, bias=bias)


@gradient("linear")
def _linear_gradient(node: Node, dy: Tensor) -> Gradients:
    x, weight = operand(node, "x"), operand(node, "weight")
    outs, ins = weight.shape
    count = math.prod(x.shape[:-1])
    rows = reshaped(dy, [count, outs])
    return {
        "x": lambda: reshaped(matmul(rows, weight), x.shape),
        "weight": lambda: matmul(rows, reshaped(x, [count, ins]), transpose_x=True),
        "bias": lambda: summed(rows, [0], [outs]),
    }


def einsum(values: Sequence[Operand], *, equation: str, name: str | None = None) -> Tensor:
    """The sum of products of two tensors that an equation such as ``"nchw,nwhu->nchu"`` names.

    The language takes two operands, of equal rank and neither repeated letters nor ``…``.
    """
    return apply("einsum", name, values=values, equation=equation)


@gradient("einsum")
def _einsum_gradient(node: Node, dy: Tensor) -> Gradients:
    values = node.inputs["values"]
    assert isinstance(values, tuple)
    x, y = values
    of_x, rest = argument(node, "equation").replace(" ", "").split(",")
    of_y, out = rest.split("->")
    return {
        "values": (
            lambda: _contracted((dy, out), (y, of_y), (x, of_x)),
            lambda: _contracted((dy, out), (x, of_x), (y, of_y)),
        )
    }


def _contracted(
    left: tuple[Tensor, str], right: tuple[Tensor, str], like: tuple[Tensor, str]
) -> Tensor:
    """The product of two tensors with named axes, summed to those of a third; as a matmul.

    The engine takes few equations of einsum, and every matmul of three axes.
    """
    (a, of_a), (b, of_b), (target, out) = left, right, like
    # What broadcasting repeated in the target is summed, as what it does not have.
    wanted = "".join(c for c, size in zip(out, target.shape, strict=True) if size > 1)
    a, of_a = _without(a, of_a, of_b + wanted)
    b, of_b = _without(b, of_b, of_a + wanted)
    sizes = {**dict(zip(of_a, a.shape, strict=True)), **dict(zip(of_b, b.shape, strict=True))}
    batch = [c for c in of_a if c in of_b and c in wanted]
    inner = [c for c in of_a if c in of_b and c not in wanted]
    rows = [c for c in of_a if c not in of_b]
    columns = [c for c in of_b if c not in of_a]

    def merged(*groups: list[str]) -> list[int]:
        return [math.prod(sizes[c] for c in group) for group in groups]

    product = matmul(
        reshaped(_ordered(a, of_a, batch + rows + inner), merged(batch, rows, inner)),
        reshaped(_ordered(b, of_b, batch + inner + columns), merged(batch, inner, columns)),
    )
    made = batch + rows + columns
    product = reshaped(product, [sizes[c] for c in made])
    product = _ordered(product, made, [c for c in wanted if c in made])
    kept = [sizes[c] if c in made else 1 for c in out]
    return broadcast(reshaped(product, kept), target.shape)


def _without(x: Tensor, labels: str, needed: str) -> tuple[Tensor, str]:
    """A tensor without its axes of size 1, and summed over those that nothing else has."""
    axes = [i for i, c in enumerate(labels) if x.shape[i] == 1 or c not in needed]
    left = [i for i in range(x.rank) if i not in axes]
    summing = [i for i in axes if x.shape[i] > 1]
    return summed(x, summing, [x.shape[i] for i in left]), "".join(labels[i] for i in left)


def _ordered(x: Tensor, labels: Sequence[str], order: list[str]) -> Tensor:
    perm = [list(labels).index(c) for c in order]
    return x if perm == sorted(perm) else apply("transpose", x=x, perm=perm)


def scaled_dot_product_attention(
    query: Operand,
    key: Operand,
    value: Operand,
    attn_mask: Operand | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """``softmax(query · keyᵀ / √D + attn_mask) · value``.

    Shapes: query ``[B, *, L, D]``, key ``[B, *, S, D]``, value ``[B, *, S, D_v]``, attn_mask
    broadcast to ``[B, *, L, S]``, result ``[B, *, L, D_v]``. A float mask is added; a bool mask
    lets in what is true. Came with ios18.
    """
    return apply(
        "scaled_dot_product_attention", name, query=query, key=key, value=value, attn_mask=attn_mask
    )


@gradient("scaled_dot_product_attention")
def _attention_gradient(node: Node, dy: Tensor) -> Gradients:
    """The weights of the attention are computed again: they are larger than all operands."""
    query, key, value = (operand(node, name) for name in ("query", "key", "value"))
    mask = node.inputs.get("attn_mask")
    scale = query.shape[-1] ** -0.5
    scores = matmul(query * scale, key, transpose_y=True)
    if isinstance(mask, Tensor) and mask.dtype == "bool":
        scores = apply("select", cond=mask, a=scores, b=_MASKED)
    elif isinstance(mask, Tensor):
        scores = scores + mask
    weights = apply("softmax", x=scores, axis=-1)
    inner = matmul(dy, value, transpose_y=True)
    mean = apply("reduce_sum", x=inner * weights, axes=[-1], keep_dims=True)
    slope = (inner - mean) * weights
    gradients: Gradients = {
        "query": lambda: unbroadcast(matmul(slope, key * scale), query),
        "key": lambda: unbroadcast(matmul(slope, query * scale, transpose_x=True), key),
        "value": lambda: unbroadcast(matmul(weights, dy, transpose_x=True), value),
    }
    if isinstance(mask, Tensor) and mask.dtype != "bool":
        gradients["attn_mask"] = lambda: unbroadcast(slope, mask)
    return gradients

"""What the kernels with weights as inputs share: products, heads by group, normalisation.

Activations are ``[1, C, 1, S]``, and ``[1, 1, C, S]`` in products with weights ``[1, 1, out, in]``.
"""

from __future__ import annotations

from milane.graph import ops
from milane.graph.graph import Graph
from milane.graph.tensor import Tensor
from milane.mil import _parts as parts
from milane.mil._attention import Heads, in_columns, masked_softmax


def activation(graph: Graph, name: str, channels: int, seq: int) -> Tensor:
    """An input ``[1, channels, 1, seq]``."""
    return graph.input(name, (1, channels, 1, seq))


def matrix(graph: Graph, name: str, out: int, ins: int) -> Tensor:
    """A weight as an input, ``[1, 1, out, ins]``."""
    return graph.input(name, (1, 1, out, ins))


def as_matrix(x: Tensor) -> Tensor:
    """``[1, C, 1, S]`` as ``[1, 1, C, S]``."""
    _, count, _, seq = x.shape
    return ops.reshape(x, [1, 1, count, seq], name=f"{x.name}_matrix")


def product(w: Tensor, x: Tensor, name: str, *, transpose: bool = False) -> Tensor:
    """``w · x``, or ``wᵀ · x``: ``[1, out, 1, S]``."""
    made = ops.matmul(w, x, transpose_x=transpose, name=f"{name}_matrix")
    _, _, count, seq = made.shape
    return ops.reshape(made, [1, count, 1, seq], name=name)


# Heads


def in_rows(heads: Heads, x: Tensor, name: str) -> Tensor:
    """``[1, heads · D, 1, S]`` in rows by group, ``[1, kv heads, group · S, D]``."""
    return heads.grouped(parts.split_heads(x, heads.count, f"{name}_rows"), f"{name}_by_group")


def from_rows(heads: Heads, x: Tensor, name: str) -> Tensor:
    """The inverse of :func:`in_rows`."""
    return parts.merge_heads(heads.ungrouped(x, f"{name}_rows"), f"{name}_flat")


def probabilities(graph: Graph, heads: Heads, q: Tensor, k: Tensor) -> Tensor:
    """``softmax(q · kᵀ / √D + mask)``, grouped: ``[1, kv heads, group · S, S]``."""
    rows = in_rows(heads, ops.mul(q, heads.scale, name="q_scaled"), "q")
    scores = ops.matmul(rows, in_columns(k, heads.size, "k_columns"), name="scores")
    return masked_softmax(heads, scores, parts.causal_mask(graph, heads.seq))


# Normalisation that cannot overflow: the largest element of a position is divided out first.


def over_rms(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """n = ``x / (mean(x²) + eps)^1/2``, and the factors of 1 / rms: that of x / largest, largest.

    With m the largest: ``mean(x²) + eps = m² · (mean((x / m)²) + (eps^1/2 / m)²)``. m is kept from
    0, where x is 0, by taking eps^1/2 for it: then eps is all there is.
    """
    root = eps**0.5
    largest = ops.reduce_max(ops.abs(x, name="size"), axes=[1], keep_dims=True, name="largest_size")
    largest = ops.maximum(largest, root, name="largest")
    small = ops.real_div(x, largest, name="x_small")
    squares = ops.mul(small, small, name="squares")
    mean = ops.reduce_mean(squares, axes=[1], keep_dims=True, name="mean_of_squares")
    root_small = ops.real_div(root, largest, name="root_of_eps_small")
    sum = ops.add(mean, ops.mul(root_small, root_small, name="eps_small"), name="mean_plus_eps")
    factor = ops.pow(sum, -0.5, name="rrms_small")
    return ops.mul(small, factor, name="x_over_rms"), factor, largest


def normalised(x: Tensor, eps: float, weight: Tensor) -> Tensor:
    """``weight · x / (mean(x²) + eps)^1/2``, the mean over channels."""
    return ops.mul(over_rms(x, eps)[0], weight, name="norm")


def normalised_gradient(x: Tensor, eps: float, weight: Tensor, dy: Tensor) -> Tensor:
    """The gradient of x from that of :func:`normalised`."""
    n, factor, largest = over_rms(x, eps)
    g = ops.mul(dy, weight, name="dy_weighted")
    along = ops.mul(g, n, name="dy_along_x")
    mean = ops.reduce_mean(along, axes=[1], keep_dims=True, name="mean_along_x")
    across = ops.sub(g, ops.mul(n, mean, name="share_along_x"), name="dy_across_x")
    return ops.mul(across, ops.real_div(factor, largest, name="rrms"), name="dx_of_norm")

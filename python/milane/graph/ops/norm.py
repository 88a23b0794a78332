"""Normalisation."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence

from milane._core.mil import Value
from milane.graph.body import Node, apply, body_of
from milane.graph.gradients import (
    SMALLEST,
    Gradients,
    along,
    argument,
    axes_of,
    gradient,
    no_gradient,
    operand,
    reshaped,
    summed,
)
from milane.graph.ops.binary import maximum
from milane.graph.ops.elementwise import square
from milane.graph.tensor import Operand, Tensor


def batch_norm(
    x: Operand,
    mean: Operand,
    variance: Operand,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    *,
    epsilon: float = 1e-5,
    name: str | None = None,
) -> Tensor:
    """``gamma · (x - mean) / √(variance + epsilon) + beta``, each a number per channel.

    Shapes: x ``[N, C, …]``, of rank 3 to 5; the others ``[C]``, constant.
    """
    return apply(
        "batch_norm",
        name,
        x=x,
        mean=mean,
        variance=variance,
        gamma=gamma,
        beta=beta,
        epsilon=epsilon,
    )


@gradient("batch_norm")
def _batch_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x, epsilon = operand(node, "x"), argument(node, "epsilon")
    mean, variance = operand(node, "mean"), operand(node, "variance")
    others = [axis for axis in range(x.rank) if axis != 1]
    scale = apply("rsqrt", x=along(variance, 1, x.rank), epsilon=epsilon)
    normal = (x - along(mean, 1, x.rank)) * scale
    inner = dy * along(operand(node, "gamma"), 1, x.rank) if "gamma" in node.inputs else dy

    def per_channel(values: Tensor) -> Tensor:
        return summed(values, others, mean.shape)

    return {
        "x": lambda: inner * scale,
        "mean": lambda: per_channel(inner * -scale),
        "variance": lambda: per_channel(inner * normal * (square(scale) * -0.5)),
        "gamma": lambda: per_channel(dy * normal),
        "beta": lambda: per_channel(dy),
    }


def instance_norm(
    x: Operand,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    *,
    epsilon: float = 1e-5,
    name: str | None = None,
) -> Tensor:
    """``gamma · (x - mean) / √(variance + epsilon) + beta``, over each channel of each instance.

    Shapes: x ``[N, C, …]``, of rank 3 or 4; gamma and beta ``[C]``, constant.
    """
    return apply("instance_norm", name, x=x, gamma=gamma, beta=beta, epsilon=epsilon)


@gradient("instance_norm")
def _instance_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return _norm_gradient(node, dy, list(range(2, x.rank)), [1])


def l2_norm(x: Operand, *, epsilon: float = 1e-6, name: str | None = None) -> Tensor:
    """``x / √(Σ x² + epsilon)``, the sum over the last three axes.

    Shapes: x ``[…, C, H, W]``.
    """
    return apply("l2_norm", name, x=x, epsilon=epsilon)


@gradient("l2_norm")
def _l2_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), node.outputs[0]
    axes = [x.rank - 3, x.rank - 2, x.rank - 1]
    length = apply("reduce_l2_norm", x=x, axes=axes, keep_dims=True)
    along_y = apply("reduce_sum", x=dy * y, axes=axes, keep_dims=True)
    return {"x": (dy - y * along_y) * _inverse_root(length, argument(node, "epsilon"))}


def layer_norm(
    x: Operand,
    *,
    axes: Sequence[int] | None = None,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    epsilon: float = 1e-5,
    name: str | None = None,
) -> Tensor:
    """``gamma · (x - mean) / √(variance + epsilon) + beta``, mean and variance over ``axes``.

    ``axes`` is all axes where None. Shapes: gamma and beta have those of x at ``axes``; constant.
    """
    return apply("layer_norm", name, x=x, axes=axes, gamma=gamma, beta=beta, epsilon=epsilon)


@gradient("layer_norm")
def _layer_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    axes = axes_of(node, operand(node, "x").rank)
    return _norm_gradient(node, dy, axes, axes)


def _norm_gradient(node: Node, dy: Tensor, axes: list[int], affine: list[int]) -> Gradients:
    """Of a normalisation over ``axes`` whose gamma and beta lie along ``affine``."""
    x, epsilon = operand(node, "x"), argument(node, "epsilon")
    sizes = [size if axis in affine else 1 for axis, size in enumerate(x.shape)]
    shape = [x.shape[axis] for axis in affine]
    others = [axis for axis in range(x.rank) if axis not in affine]
    inner = dy * reshaped(operand(node, "gamma"), sizes) if "gamma" in node.inputs else dy
    centred = x - apply("reduce_mean", x=x, axes=axes, keep_dims=True)
    share = math.prod(x.shape[axis] for axis in axes) ** -0.5
    deviation = apply("reduce_l2_norm", x=centred * share, axes=axes, keep_dims=True)
    scale = _inverse_root(deviation, epsilon)
    normal = centred * scale

    def of_x() -> Tensor:
        mean = apply("reduce_mean", x=inner, axes=axes, keep_dims=True)
        slope = apply("reduce_mean", x=inner * normal, axes=axes, keep_dims=True)
        return (inner - mean - normal * slope) * scale

    return {
        "x": of_x,
        "gamma": lambda: summed(dy * normal, others, shape),
        "beta": lambda: summed(dy, others, shape),
    }


def _inverse_root(length: Tensor, epsilon: float) -> Tensor:
    """``1 / √(length² + epsilon)``, whose squares stay in the range of fp16."""
    root = math.sqrt(epsilon)
    larger = maximum(length, max(root, SMALLEST[length.dtype]))
    ratio = square(length / larger) + square(root / larger)
    return ratio**-0.5 / larger  # pow: the device refuses sqrt behind a reduction (ane_facts D 12)


def local_response_norm(
    x: Operand,
    *,
    size: int,
    alpha: float = 0.0001,
    beta: float = 0.75,
    k: float = 1.0,
    name: str | None = None,
) -> Tensor:
    """``x / (k + alpha / size · Σ x²)^beta``, the sum over ``size`` neighbouring channels.

    Shapes: x ``[N, C, …]``, of rank 3 or more.
    """
    return apply("local_response_norm", name, x=x, size=size, alpha=alpha, beta=beta, k=k)


@gradient("local_response_norm")
def _local_response_norm_gradient(node: Node, dy: Tensor) -> Gradients:
    x, size, beta = operand(node, "x"), argument(node, "size"), argument(node, "beta")
    share = argument(node, "alpha") / size
    # The window of a channel reaches size // 2 back, that of its gradient as far forward.
    back, forward = size // 2, (size - 1) // 2
    squares = square(x * math.sqrt(abs(share)))
    total = _over_channels(squares, back, forward)
    base = (total if share >= 0 else -total) + argument(node, "k")
    power = base**-beta
    pulled = _over_channels(dy * x * (power / base), forward, back)
    return {"x": dy * power - x * (pulled * (2.0 * beta * share))}


def _over_channels(x: Tensor, back: int, forward: int) -> Tensor:
    """For each channel the sum over its neighbours, so many back and forward; zeros beyond."""
    channels = x.shape[1]
    amounts = [0] * (2 * x.rank)
    amounts[2:4] = [back, forward]
    padded = apply("pad", x=x, pad=amounts, mode="constant", constant_val=0.0)
    parts = [padded[:, i : i + channels] for i in range(back + forward + 1)]
    return functools.reduce(lambda a, b: a + b, parts)


def classify(
    probabilities: Operand, *, classes: Sequence[str] | Sequence[int], name: str | None = None
) -> tuple[Tensor, Tensor]:
    """The label of the largest probability, and a dictionary of all labels' probabilities.

    Core ML's form of a classifier's output: nothing can use the results, and no backend here runs
    it. Shapes: probabilities of as many elements as there are classes, fp32.
    """
    body = body_of("classify", {"probabilities": probabilities})
    kind = "string" if all(isinstance(label, str) for label in classes) else "int64"
    listed = ", ".join(json.dumps(label, ensure_ascii=False) for label in classes)
    value = Value(f"list<{kind}, {len(classes)}>([{listed}])")
    label, chances = body.results(
        "classify",
        {
            "probabilities": probabilities,
            "classes": body.constant(value, body.fresh("classes"), listed),
        },
        name=name,
        types=[kind, f"dict<{kind}, fp64>"],
    )
    return label, chances


no_gradient("its results are a label and a dictionary", "classify")

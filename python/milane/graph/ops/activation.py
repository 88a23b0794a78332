"""Activations: the result has the shape of ``x``."""

from __future__ import annotations

import math

from milane.graph.body import Node, apply
from milane.graph.gradients import Gradients, along, argument, gradient, operand, summed
from milane.graph.ops.binary import minimum, select
from milane.graph.ops.elementwise import abs, erf, exp, square, tanh
from milane.graph.tensor import Operand, Tensor


def clamped_relu(x: Operand, *, alpha: float, beta: float, name: str | None = None) -> Tensor:
    """``min(x, beta)`` for x ≥ 0 and ``min(alpha · x, beta)`` below."""
    return apply("clamped_relu", name, x=x, alpha=alpha, beta=beta)


@gradient("clamped_relu")
def _clamped_relu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    alpha, beta = argument(node, "alpha"), argument(node, "beta")
    bent = select(x > 0.0, dy, dy * alpha)
    return {"x": select(node.outputs[0] < beta, bent, 0.0)}


def clip(x: Operand, *, alpha: float, beta: float, name: str | None = None) -> Tensor:
    """The nearest number to x in [alpha, beta]."""
    return apply("clip", name, x=x, alpha=alpha, beta=beta)


@gradient("clip")
def _clip_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    alpha, beta = argument(node, "alpha"), argument(node, "beta")
    return {"x": select(x >= alpha, select(x <= beta, dy, 0.0), 0.0)}


def elu(x: Operand, *, alpha: float, name: str | None = None) -> Tensor:
    """x for x ≥ 0 and ``alpha · (e^x - 1)`` below."""
    return apply("elu", name, x=x, alpha=alpha)


@gradient("elu")
def _elu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    alpha = argument(node, "alpha")
    below = exp(minimum(x, 0.0)) * alpha
    return {"x": select(x > 0.0, dy, dy * below)}


def gelu(x: Operand, *, mode: str = "EXACT", name: str | None = None) -> Tensor:
    """x times the chance that a standard normal number is below x.

    ``mode`` is ``"EXACT"``: ``x/2 · (1 + erf(x / √2))``, ``"TANH_APPROXIMATION"``: ``x/2 · (1 +
    tanh(√(2/π) · (x + 0.044715 x³)))``, or ``"SIGMOID_APPROXIMATION"``: ``x · sigmoid(1.702 x)``.
    """
    return apply("gelu", name, x=x, mode=mode)


@gradient("gelu")
def _gelu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    mode = argument(node, "mode")
    # Beyond 10 the slope is 0 or 1 in every format, and powers would overflow.
    near = clip(x, alpha=-10.0, beta=10.0)
    if mode == "SIGMOID_APPROXIMATION":
        s = sigmoid(near * 1.702)
        return {"x": dy * (s + s * (1.0 - s) * (near * 1.702))}
    if mode == "EXACT":
        density = exp(square(near) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
        return {"x": dy * (erf(near * math.sqrt(0.5)) * 0.5 + 0.5 + near * density)}
    scale = math.sqrt(2.0 / math.pi)
    cubed = square(near) * 0.044715
    s = sigmoid((cubed + 1.0) * near * (2.0 * scale))  # (1 + tanh u) / 2 = sigmoid(2 u)
    return {"x": dy * (s + s * (1.0 - s) * near * ((cubed * 3.0 + 1.0) * (2.0 * scale)))}


def leaky_relu(x: Operand, *, alpha: float, name: str | None = None) -> Tensor:
    """x for x ≥ 0 and ``alpha · x`` below."""
    return apply("leaky_relu", name, x=x, alpha=alpha)


@gradient("leaky_relu")
def _leaky_relu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": select(x > 0.0, dy, dy * argument(node, "alpha"))}


def linear_activation(x: Operand, *, alpha: float, beta: float, name: str | None = None) -> Tensor:
    """``alpha · x + beta``."""
    return apply("linear_activation", name, x=x, alpha=alpha, beta=beta)


@gradient("linear_activation")
def _linear_activation_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * argument(node, "alpha")}


def relu(x: Operand, *, name: str | None = None) -> Tensor:
    """The larger of x and 0."""
    return apply("relu", name, x=x)


@gradient("relu")
def _relu_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": select(node.outputs[0] > 0.0, dy, 0.0)}


def relu6(x: Operand, *, name: str | None = None) -> Tensor:
    """The nearest number to x in [0, 6]."""
    return apply("relu6", name, x=x)


@gradient("relu6")
def _relu6_gradient(node: Node, dy: Tensor) -> Gradients:
    y = node.outputs[0]
    return {"x": select(y > 0.0, select(y < 6.0, dy, 0.0), 0.0)}


def scaled_tanh(x: Operand, *, alpha: float, beta: float, name: str | None = None) -> Tensor:
    """``alpha · tanh(beta · x)``."""
    return apply("scaled_tanh", name, x=x, alpha=alpha, beta=beta)


@gradient("scaled_tanh")
def _scaled_tanh_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    alpha, beta = argument(node, "alpha"), argument(node, "beta")
    t = tanh(x * beta)
    return {"x": dy * ((1.0 - t) * (t + 1.0) * (alpha * beta))}


def sigmoid(x: Operand, *, name: str | None = None) -> Tensor:
    """``1 / (1 + e^-x)``."""
    return apply("sigmoid", name, x=x)


@gradient("sigmoid")
def _sigmoid_gradient(node: Node, dy: Tensor) -> Gradients:
    y = node.outputs[0]
    return {"x": dy * (y * (1.0 - y))}


def sigmoid_hard(x: Operand, *, alpha: float, beta: float, name: str | None = None) -> Tensor:
    """The nearest number to ``alpha · x + beta`` in [0, 1]."""
    return apply("sigmoid_hard", name, x=x, alpha=alpha, beta=beta)


@gradient("sigmoid_hard")
def _sigmoid_hard_gradient(node: Node, dy: Tensor) -> Gradients:
    y = node.outputs[0]
    slope = dy * argument(node, "alpha")
    return {"x": select(y > 0.0, select(y < 1.0, slope, 0.0), 0.0)}


def silu(x: Operand, *, name: str | None = None) -> Tensor:
    """``x · sigmoid(x)``."""
    return apply("silu", name, x=x)


@gradient("silu")
def _silu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    s = sigmoid(x)
    return {"x": dy * (s * (x * (1.0 - s) + 1.0))}


def softplus(x: Operand, *, name: str | None = None) -> Tensor:
    """``log(1 + e^x)``."""
    return apply("softplus", name, x=x)


@gradient("softplus")
def _softplus_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * sigmoid(operand(node, "x"))}


def softsign(x: Operand, *, name: str | None = None) -> Tensor:
    """``x / (1 + |x|)``."""
    return apply("softsign", name, x=x)


@gradient("softsign")
def _softsign_gradient(node: Node, dy: Tensor) -> Gradients:
    size = abs(operand(node, "x")) + 1.0
    return {"x": dy / size / size}


def threshold(x: Operand, *, alpha: float, name: str | None = None) -> Tensor:
    """The larger of x and alpha."""
    return apply("threshold", name, x=x, alpha=alpha)


def thresholded_relu(x: Operand, *, alpha: float, name: str | None = None) -> Tensor:
    """x where ``x ≥ alpha``, and 0 elsewhere."""
    return apply("thresholded_relu", name, x=x, alpha=alpha)


@gradient("threshold", "thresholded_relu")
def _thresholded_relu_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": select(operand(node, "x") >= argument(node, "alpha"), dy, 0.0)}


def prelu(x: Operand, alpha: Operand, *, name: str | None = None) -> Tensor:
    """x for x ≥ 0 and ``alpha · x`` below, with an alpha for each channel.

    Shapes: x ``[N, C, …]``, of rank 3 or more; alpha ``[C]``, constant.
    """
    return apply("prelu", name, x=x, alpha=alpha)


@gradient("prelu")
def _prelu_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    vector = operand(node, "alpha")
    alpha = along(vector, 1, x.rank)
    others = [axis for axis in range(x.rank) if axis != 1]
    return {
        "x": lambda: select(x > 0.0, dy, dy * alpha),
        "alpha": lambda: summed(dy * minimum(x, 0.0), others, vector.shape),
    }


def softplus_parametric(
    x: Operand,
    alpha: Operand,
    beta: Operand,
    *,
    name: str | None = None,
) -> Tensor:
    """``alpha · log(1 + e^(beta · x))``, with an alpha and a beta for each channel.

    Shapes: x ``[N, C, …]``, of rank 3 or more; alpha and beta ``[C]``, constant.
    """
    return apply("softplus_parametric", name, x=x, alpha=alpha, beta=beta)


@gradient("softplus_parametric")
def _softplus_parametric_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    vectors = operand(node, "alpha"), operand(node, "beta")
    alpha, beta = (along(vector, 1, x.rank) for vector in vectors)
    others = [axis for axis in range(x.rank) if axis != 1]
    steep = x * beta
    slope = sigmoid(steep)
    return {
        "x": lambda: dy * (slope * (alpha * beta)),
        "alpha": lambda: summed(dy * softplus(steep), others, vectors[0].shape),
        "beta": lambda: summed(dy * (slope * x * alpha), others, vectors[1].shape),
    }


def softmax(x: Operand, *, axis: int = -1, name: str | None = None) -> Tensor:
    """``e^x / Σ e^x`` along an axis: positive numbers whose sum along it is 1."""
    return apply("softmax", name, x=x, axis=axis)


@gradient("softmax")
def _softmax_gradient(node: Node, dy: Tensor) -> Gradients:
    y, axis = node.outputs[0], argument(node, "axis")
    mean = apply("reduce_sum", x=dy * y, axes=[axis], keep_dims=True)
    return {"x": (dy - mean) * y}

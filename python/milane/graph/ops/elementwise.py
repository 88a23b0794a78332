"""Elementwise operations of one operand: the result has the shape of ``x``."""

from __future__ import annotations

import math

from milane.graph.body import Node, apply
from milane.graph.gradients import Gradients, argument, gradient, no_gradient, operand
from milane.graph.tensor import Operand, Tensor


def abs(x: Operand, *, name: str | None = None) -> Tensor:
    """The absolute value, element by element."""
    return apply("abs", name, x=x)


@gradient("abs")
def _abs_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * sign(operand(node, "x"))}


def acos(x: Operand, *, name: str | None = None) -> Tensor:
    """The arc cosine in radians, in [0, π]; NaN outside of [-1, 1]."""
    return apply("acos", name, x=x)


@gradient("acos")
def _acos_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": dy * -(((1.0 - x) * (x + 1.0)) ** -0.5)}


def asin(x: Operand, *, name: str | None = None) -> Tensor:
    """The arc sine in radians, in [-π/2, π/2]; NaN outside of [-1, 1]."""
    return apply("asin", name, x=x)


@gradient("asin")
def _asin_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": dy * ((1.0 - x) * (x + 1.0)) ** -0.5}


def atan(x: Operand, *, name: str | None = None) -> Tensor:
    """The arc tangent in radians, in (-π/2, π/2)."""
    return apply("atan", name, x=x)


@gradient("atan")
def _atan_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy / (square(operand(node, "x")) + 1.0)}


def atanh(x: Operand, *, name: str | None = None) -> Tensor:
    """The inverse hyperbolic tangent; NaN outside of [-1, 1]."""
    return apply("atanh", name, x=x)


@gradient("atanh")
def _atanh_gradient(node: Node, dy: Tensor) -> Gradients:
    x = operand(node, "x")
    return {"x": dy / ((1.0 - x) * (x + 1.0))}


def ceil(x: Operand, *, name: str | None = None) -> Tensor:
    """The smallest integer not below each element, in the same dtype."""
    return apply("ceil", name, x=x)


def cos(x: Operand, *, name: str | None = None) -> Tensor:
    """The cosine of an angle in radians."""
    return apply("cos", name, x=x)


@gradient("cos")
def _cos_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": -dy * sin(operand(node, "x"))}


def cosh(x: Operand, *, name: str | None = None) -> Tensor:
    """The hyperbolic cosine, ``(e^x + e^-x) / 2``."""
    return apply("cosh", name, x=x)


@gradient("cosh")
def _cosh_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * sinh(operand(node, "x"))}


def erf(x: Operand, *, name: str | None = None) -> Tensor:
    """The error function, ``2 / √π`` times the integral of ``e^(-t²)`` from 0 to x."""
    return apply("erf", name, x=x)


@gradient("erf")
def _erf_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * (exp(-square(operand(node, "x"))) * (2.0 / math.sqrt(math.pi)))}


def exp(x: Operand, *, name: str | None = None) -> Tensor:
    """e to the power of each element."""
    return apply("exp", name, x=x)


@gradient("exp")
def _exp_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * node.outputs[0]}


def exp2(x: Operand, *, name: str | None = None) -> Tensor:
    """2 to the power of each element."""
    return apply("exp2", name, x=x)


@gradient("exp2")
def _exp2_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * (node.outputs[0] * math.log(2.0))}


def floor(x: Operand, *, name: str | None = None) -> Tensor:
    """The largest integer not above each element, in the same dtype."""
    return apply("floor", name, x=x)


def inverse(x: Operand, *, epsilon: float = 1e-4, name: str | None = None) -> Tensor:
    """One over each element, ``1 / (x + epsilon)``."""
    return apply("inverse", name, x=x, epsilon=epsilon)


@gradient("inverse")
def _inverse_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": -dy * square(node.outputs[0])}


def log(x: Operand, *, epsilon: float = 1e-45, name: str | None = None) -> Tensor:
    """The natural logarithm, ``log(x + epsilon)``; the default epsilon is 0 in fp16."""
    return apply("log", name, x=x, epsilon=epsilon)


@gradient("log")
def _log_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy / (operand(node, "x") + argument(node, "epsilon"))}


def round(x: Operand, *, name: str | None = None) -> Tensor:
    """The nearest integer, ties to the even one, in the same dtype."""
    return apply("round", name, x=x)


no_gradient(
    "it is constant but for steps, so its gradient is zero wherever it has one",
    "ceil",
    "floor",
    "round",
    "sign",
)


def rsqrt(x: Operand, *, epsilon: float = 1e-12, name: str | None = None) -> Tensor:
    """One over the square root, ``1 / sqrt(x + epsilon)``; the default epsilon is 0 in fp16."""
    return apply("rsqrt", name, x=x, epsilon=epsilon)


@gradient("rsqrt")
def _rsqrt_gradient(node: Node, dy: Tensor) -> Gradients:
    shifted = operand(node, "x") + argument(node, "epsilon")
    return {"x": dy * node.outputs[0] * -0.5 / shifted}


def sign(x: Operand, *, name: str | None = None) -> Tensor:
    """-1, 0 or 1 with the sign of each element."""
    return apply("sign", name, x=x)


def sin(x: Operand, *, name: str | None = None) -> Tensor:
    """The sine of an angle in radians."""
    return apply("sin", name, x=x)


@gradient("sin")
def _sin_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * cos(operand(node, "x"))}


def sinh(x: Operand, *, name: str | None = None) -> Tensor:
    """The hyperbolic sine, ``(e^x - e^-x) / 2``."""
    return apply("sinh", name, x=x)


@gradient("sinh")
def _sinh_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * cosh(operand(node, "x"))}


def sqrt(x: Operand, *, name: str | None = None) -> Tensor:
    """The square root; NaN for negative elements.

    The device's compiler refuses it behind a reduction: :func:`pow` with 0.5 is taken
    (ane_facts D 12).
    """
    return apply("sqrt", name, x=x)


@gradient("sqrt")
def _sqrt_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * 0.5 / node.outputs[0]}


def square(x: Operand, *, name: str | None = None) -> Tensor:
    """Each element times itself."""
    return apply("square", name, x=x)


@gradient("square")
def _square_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * (operand(node, "x") * 2.0)}


def tan(x: Operand, *, name: str | None = None) -> Tensor:
    """The tangent of an angle in radians."""
    return apply("tan", name, x=x)


@gradient("tan")
def _tan_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": dy * (square(node.outputs[0]) + 1.0)}


def tanh(x: Operand, *, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return apply("tanh", name, x=x)


@gradient("tanh")
def _tanh_gradient(node: Node, dy: Tensor) -> Gradients:
    y = node.outputs[0]
    return {"x": dy * ((1.0 - y) * (y + 1.0))}


def logical_not(x: Operand, *, name: str | None = None) -> Tensor:
    """True where x is false; x is bool."""
    return apply("logical_not", name, x=x)


no_gradient("a bool has no gradient", "logical_not")


def cast(x: Operand, *, dtype: str, name: str | None = None) -> Tensor:
    """The elements as another dtype, given by its MIL name such as ``"fp32"``.

    Floats become integers by dropping the fraction, and bool by being compared with 0.
    """
    return apply("cast", name, x=x, dtype=dtype)


@gradient("cast")
def _cast_gradient(node: Node, dy: Tensor) -> Gradients:
    return {"x": cast(dy, dtype=operand(node, "x").dtype)}

"""Elementwise operations of two operands, comparisons, and ``select``."""

from __future__ import annotations

import numpy as np

from milane.graph.body import Node, apply
from milane.graph.gradients import SMALLEST, Gradients, gradient, no_gradient, operand, unbroadcast
from milane.graph.tensor import Operand, Tensor


def add(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """``x + y``, with NumPy's broadcasting."""
    return apply("add", name, x=x, y=y)


@gradient("add")
def _add_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    return {"x": lambda: unbroadcast(dy, x), "y": lambda: unbroadcast(dy, y)}


def sub(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """``x - y``, with NumPy's broadcasting."""
    return apply("sub", name, x=x, y=y)


@gradient("sub")
def _sub_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    return {"x": lambda: unbroadcast(dy, x), "y": lambda: unbroadcast(-dy, y)}


def mul(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """``x · y``, with NumPy's broadcasting."""
    return apply("mul", name, x=x, y=y)


@gradient("mul")
def _mul_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    return {"x": lambda: unbroadcast(dy * y, x), "y": lambda: unbroadcast(dy * x, y)}


def real_div(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """``x / y``, with NumPy's broadcasting; integers are divided as :func:`floor_div` does."""
    return apply("real_div", name, x=x, y=y)


@gradient("real_div")
def _real_div_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    quotient = node.outputs[0]
    return {
        "x": lambda: unbroadcast(dy / y, x),
        "y": lambda: unbroadcast(-dy * (quotient / y), y),
    }


def floor_div(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """``floor(x / y)``, with NumPy's broadcasting."""
    return apply("floor_div", name, x=x, y=y)


no_gradient(
    "it is constant but for steps, so its gradient is zero wherever it has one", "floor_div"
)


def mod(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """The remainder ``x - floor(x / y) · y``, with NumPy's broadcasting; it has the sign of y."""
    return apply("mod", name, x=x, y=y)


@gradient("mod")
def _mod_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    return {
        "x": lambda: unbroadcast(dy, x),
        "y": lambda: unbroadcast(-dy * floor_div(x, y), y),
    }


def pow(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """x to the power of y, with NumPy's broadcasting."""
    return apply("pow", name, x=x, y=y)


@gradient("pow")
def _pow_gradient(node: Node, dy: Tensor) -> Gradients:
    x, y = operand(node, "x"), operand(node, "y")
    result = node.outputs[0]
    known = y.value if isinstance(y.value, np.ndarray) else None

    def of_base() -> Tensor:
        if known is not None and np.all(known == 2):
            return unbroadcast(dy * (x * 2.0), x)
        if known is not None and np.all(known < 0):
            # The power below would leave fp16 first: 1e-4 ** -1.5 in the gradient of an RMSNorm.
            return unbroadcast(dy * (result * y) / x, x)
        return unbroadcast(dy * (y * x ** (y - 1.0)), x)

    def of_exponent() -> Tensor:
        # The logarithm of 0 is infinite, its product with 0 ** y is 0.
        size = maximum(x, SMALLEST[x.dtype])
        return unbroadcast(dy * (result * apply("log", x=size, epsilon=0.0)), y)

    return {"x": of_base, "y": of_exponent}


def maximum(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """The larger of x and y, with NumPy's broadcasting."""
    return apply("maximum", name, x=x, y=y)


def minimum(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """The smaller of x and y, with NumPy's broadcasting."""
    return apply("minimum", name, x=x, y=y)


@gradient("maximum", "minimum")
def _extremum_gradient(node: Node, dy: Tensor) -> Gradients:
    """Where both are equal each takes one half, as in PyTorch."""
    x, y = operand(node, "x"), operand(node, "y")
    upper, lower = (x, y) if node.type == "maximum" else (y, x)
    chosen = dy * (apply("sign", x=upper - lower) * 0.5 + 0.5)
    return {"x": lambda: unbroadcast(chosen, x), "y": lambda: unbroadcast(dy - chosen, y)}


def equal(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x = y``, as bool, with NumPy's broadcasting."""
    return apply("equal", name, x=x, y=y)


def not_equal(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x ≠ y``, as bool, with NumPy's broadcasting."""
    return apply("not_equal", name, x=x, y=y)


def greater(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x > y``, as bool, with NumPy's broadcasting."""
    return apply("greater", name, x=x, y=y)


def greater_equal(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x ≥ y``, as bool, with NumPy's broadcasting."""
    return apply("greater_equal", name, x=x, y=y)


def less(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x < y``, as bool, with NumPy's broadcasting."""
    return apply("less", name, x=x, y=y)


def less_equal(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether ``x ≤ y``, as bool, with NumPy's broadcasting."""
    return apply("less_equal", name, x=x, y=y)


no_gradient(
    "a bool has no gradient",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
)


def logical_and(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether x and y are both true, with NumPy's broadcasting; both are bool."""
    return apply("logical_and", name, x=x, y=y)


def logical_or(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether x or y is true, with NumPy's broadcasting; both are bool."""
    return apply("logical_or", name, x=x, y=y)


def logical_xor(x: Operand, y: Operand, *, name: str | None = None) -> Tensor:
    """Whether just one of x and y is true, with NumPy's broadcasting; both are bool."""
    return apply("logical_xor", name, x=x, y=y)


no_gradient("a bool has no gradient", "logical_and", "logical_or", "logical_xor")


def select(cond: Operand, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
    """a where cond is true and b elsewhere; all three are broadcast, cond is bool."""
    return apply("select", name, cond=cond, a=a, b=b)


@gradient("select")
def _select_gradient(node: Node, dy: Tensor) -> Gradients:
    cond, a, b = operand(node, "cond"), operand(node, "a"), operand(node, "b")
    return {
        "a": lambda: unbroadcast(select(cond, dy, 0.0), a),
        "b": lambda: unbroadcast(select(cond, 0.0, dy), b),
    }
